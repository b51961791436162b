"""Keep the nodes of a graph that score best."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.graph_layer import floating, shapes_of_inputs
from keras_ssl.ops.graph.edges import check_adjacency, keep_nodes, spec_of_kept_edges, widened
from keras_ssl.ops.graph.inputs import TakesGraphs, read_graph
from keras_ssl.ops.graph.membership import best_nodes, check_nodes, membership


@keras.saving.register_keras_serializable(package="keras_ssl")
class TopKPool(TakesGraphs, keras.layers.Layer):
    """Keep the nodes of each graph that score best, scaled by their score.

        y_n = <x_n, p> / |p|
        kept: the ceil(ratio |G|) nodes of graph G with the largest y
        x'_n = tanh(y_n) x_n,    a'_nm = a_nm    for kept n and m

    The gate tanh(y) is what p gets its gradient by. Nodes that are dropped stay in their rows as
    padding, so that no shape depends on values: their features are 0, their edges weigh 0, and the
    last output tells them from the others. Given these outputs, layers, poolings and another
    `TopKPool` compute what they would on the smaller graph. Features of edges stay valid as they
    are.

    Args:
        ratio: share of the nodes to keep, in (0, 1]. At least one node of a graph is kept.
        graphs: how many graphs a disjoint union holds. Needed where shapes must be known, as for
            XLA; without it there are `max(i) + 1`.
        initializer: initializer of p.
        regularizer: regularizer of p.
        constraint: constraint of p.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, `[x, a, i]` in disjoint mode, or `[x, a, mask]`; `i` is the graph of each
            node (integers), negative for padding; `mask` is `True` where a row is a node.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`; `a` as in
        `layers.graph.MessagePassing`, in mixed mode (a batch of features, one graph) dense.

    Output shape:
        A tuple of three: `x` and `a` in the shapes that they came in, and in disjoint mode `i`,
        -1 for dropped nodes, else the mask of the nodes that are kept. In mixed mode `a` is
        `(batch, nodes, nodes)`, since examples drop different nodes.

    Raises:
        ValueError: if `ratio` lies outside (0, 1], or shapes do not fit.

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
        wide = widened(x)
        p = ops.cast(self.projection, wide.dtype)
        score = ops.matmul(wide, p[:, None]) * ops.rsqrt(ops.maximum(ops.sum(p * p), 1e-20))
        keep = best_nodes(*membership(score, i, is_node, self.graphs), self.ratio)
        keep = ops.reshape(keep, ops.shape(score))
        gated = ops.where(keep, ops.cast(ops.tanh(score), x.dtype) * x, ops.zeros_like(x))
        kept = ops.squeeze(keep, -1)
        if i is not None:
            kept = ops.where(kept, i, ops.full_like(i, -1))
        return gated, keep_nodes(x, a, keep), kept

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> tuple[Any, Any, Any]:
        x, a, _, i, _ = read_graph(inputs)
        features = keras.KerasTensor(x.shape, self.compute_dtype)
        kept = keras.KerasTensor(x.shape[:-1], "bool" if i is None else i.dtype)
        return features, spec_of_kept_edges(a, x.shape[:-2]), kept

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: which nodes are kept is an output."""
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
