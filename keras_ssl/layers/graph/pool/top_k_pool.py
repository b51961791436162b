"""Pooling that keeps the nodes with the highest scores."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.graph_layer import floating, shapes_of_inputs
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.edges import check_adjacency, keep_nodes, spec_of_kept_edges
from keras_ssl.ops.graph.inputs import TakesGraphs, read_graph
from keras_ssl.ops.graph.membership import best_nodes, check_nodes, membership


@keras.saving.register_keras_serializable(package="keras_ssl")
class TopKPool(TakesGraphs, keras.layers.Layer):
    """Keep the nodes of each graph with the highest scores, scaled by their score.

        y_n = <x_n, p> / |p|
        kept: the ceil(ratio |G|) nodes of graph G with the largest y
        x'_n = tanh(y_n) x_n,    a'_nm = a_nm    for kept n and m

    p gets its gradient through the gate tanh(y). Dropped nodes keep their rows as padding, so that
    shapes are static: their features and edge weights are 0, and the last output marks them. On
    these outputs, graph layers, pooling layers and another `TopKPool` compute the same as on the
    smaller graph. Edge features remain valid.

    Args:
        ratio: share of the nodes to keep, in (0, 1]. At least one node per graph is kept.
        graphs: number of graphs of a disjoint union, needed for static shapes (XLA). `None` for
            `max(i) + 1`.
        initializer: initializer of p.
        regularizer: regularizer of p.
        constraint: constraint of p.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, `[x, a, i]` in disjoint mode, or `[x, a, mask]`. `i` is the index of each
            node's graph, negative for padding; `mask` is `True` for nodes.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`; `a` as in
        `layers.graph.MessagePassing`, but dense in mixed mode (a batch of features, one graph).

    Output shape:
        Tuple of `x` and `a` in their input shapes, and in disjoint mode `i`, -1 for dropped nodes,
        otherwise the mask of the kept nodes. In mixed mode `a` is `(batch, nodes, nodes)`. Its
        weights are in the compute dtype: below 6e-8, they vanish in float16.

    Raises:
        ValueError: if `ratio` is outside (0, 1], or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import TopKPool
    >>> x, a, kept = TopKPool(ratio=0.5)([np.random.normal(size=(5, 3)), np.ones((5, 5))])
    >>> x.shape, a.shape, int(np.sum(kept))
    (TensorShape([5, 3]), TensorShape([5, 5]), 3)

    Reference:
        - [Gao and Ji, 2019](https://arxiv.org/abs/1905.05178)
    """

    def __init__(
        self,
        ratio: float = 0.5,
        graphs: int | None = None,
        initializer: Any = "glorot_uniform",
        regularizer: Any = None,
        constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.ratio = checks.positive("ratio", ratio, maximum=1)
        self.graphs = checks.integer("graphs", graphs, minimum=1, optional=True)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.constraint = keras.constraints.get(constraint)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        x, a, *others = shapes_of_inputs(input_shape)
        check_nodes(x, None)
        check_adjacency(x, a)
        if self.graphs is None and len(x) == 2 and any(len(one) == 1 for one in others):
            self.supports_jit = False  # the number of graphs depends on values
        self.projection = self.add_weight(
            shape=(x[-1],),
            initializer=self.initializer,
            regularizer=self.regularizer,
            constraint=self.constraint,
            name="projection",
        )

    def call(self, inputs: Any, mask: Any = None) -> tuple[Any, Any, Any]:
        x, a, _, i, is_node = read_graph(inputs)
        x = floating(x, self.compute_dtype)
        if is_node is None and mask is not None:
            is_node = mask[0]
        wide = at_least_float32(x)
        p = ops.cast(self.projection, wide.dtype)
        score = ops.matmul(wide, p[:, None]) * ops.rsqrt(ops.maximum(ops.sum(p * p), 1e-20))
        keep = best_nodes(*membership(score, i, is_node, self.graphs), self.ratio)
        keep = ops.reshape(keep, ops.shape(score))
        gated = ops.where(keep, ops.cast(ops.tanh(score), x.dtype) * x, ops.zeros_like(x))
        kept = ops.squeeze(keep, -1)
        if i is not None:
            kept = ops.where(kept, i, ops.full_like(i, -1))
        return gated, keep_nodes(x, self._in_compute_dtype(a), keep), kept

    def _in_compute_dtype(self, a: Any) -> Any:
        """Cast the weights of edges, as all outputs of a Keras layer."""
        return keras.tree.map_structure(
            lambda one: self.dtype_policy.convert_input(one, True, self.compute_dtype), a
        )

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> tuple[Any, Any, Any]:
        x, a, _, i, _ = read_graph(inputs)
        features = keras.KerasTensor(x.shape, self.compute_dtype)
        kept = keras.KerasTensor(x.shape[:-1], "bool" if i is None else i.dtype)
        return features, spec_of_kept_edges(self._in_compute_dtype(a), x.shape[:-2]), kept

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: the mask of the kept nodes is an output."""
        return

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "graphs": self.graphs,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "constraint": keras.constraints.serialize(self.constraint),
        }
