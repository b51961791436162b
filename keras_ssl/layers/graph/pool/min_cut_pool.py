"""Pooling of nodes to clusters by the minimum cut."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph._perceptron import Perceptron
from keras_ssl.layers.graph.graph_layer import floating, mask_of_nodes, shapes_of_inputs
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.edges import Edges, ListedEdges, check_adjacency, connect
from keras_ssl.ops.graph.inputs import TakesGraphs, read_graph
from keras_ssl.ops.graph.membership import check_nodes, membership


@keras.saving.register_keras_serializable(package="keras_ssl")
class MinCutPool(TakesGraphs, keras.layers.Layer):
    r"""Pool the nodes of each graph to k clusters, which are learned by two losses.

        S = softmax(MLP(X))
        X' = S^T X
        A' = D'^-1/2 (S^T A S) D'^-1/2, with zeros on the diagonal

    S holds the share of each cluster in each node. Two losses are added to the model, so that the
    layer also learns without labels. The first is that of the cut, between -1 for clusters without
    edges in between and 0; the second prefers clusters of equal size with few shared nodes:

        L_cut = -Tr(S^T A S) / Tr(S^T D S),    D_ii = sum_j A_ij
        L_orthogonality = |S^T S / |S^T S|_F - I / sqrt(k)|_F

    Both are means over the graphs of a batch. The paper passes the adjacency normalized as
    `GCSConv.preprocess` does; the graph should be undirected.

    Args:
        k: number of clusters.
        mlp_hidden: list of the numbers of features of the hidden layers of the MLP; `None` for a
            single dense layer.
        mlp_activation: activation function of the hidden layers.
        return_selection: whether to return S too.
        graphs: number of graphs of a disjoint union, needed for static shapes (XLA). `None` for
            `max(i) + 1`.
        use_bias: whether the layers of the MLP have a bias.
        kernel_initializer: initializer of the kernels of the MLP.
        bias_initializer: initializer of its biases.
        kernel_regularizer: regularizer of its kernels.
        bias_regularizer: regularizer of its biases.
        kernel_constraint: constraint of its kernels.
        bias_constraint: constraint of its biases.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, `[x, a, i]` in disjoint mode, or `[x, a, mask]`. `i` is the index of each
            node's graph, negative for padding; `mask` is `True` for nodes.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`; `a` as in
        `layers.graph.MessagePassing`.

    Output shape:
        Tuple of `x` and a dense `a`: `(k, features)` and `(k, k)` in single mode, otherwise
        `(batch, k, features)` and `(batch, k, k)`, with the number of graphs as `batch` in disjoint
        mode. With `return_selection=True`, S follows, `(..., nodes, k)`, 0 for padding.

    Raises:
        ValueError: if `k`, `graphs` or a number in `mlp_hidden` is not positive, or shapes do not
            match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import GCSConv, MinCutPool
    >>> x, a = np.ones((5, 3)), np.ones((5, 5))
    >>> pool = MinCutPool(2)
    >>> x, a = pool([x, GCSConv.preprocess(a)])
    >>> x.shape, a.shape, len(pool.losses)
    (TensorShape([2, 3]), TensorShape([2, 2]), 2)

    Reference:
        - [Bianchi et al., 2020](https://arxiv.org/abs/1907.00481)
    """

    def __init__(
        self,
        k: int,
        mlp_hidden: list[int] | None = None,
        mlp_activation: Any = "relu",
        return_selection: bool = False,
        graphs: int | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.k = checks.integer("k", k, minimum=1)
        self.return_selection = bool(return_selection)
        self.graphs = checks.integer("graphs", graphs, minimum=1, optional=True)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.mlp = Perceptron(mlp_hidden, k, mlp_activation, like=self)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        x, a, *others = shapes_of_inputs(input_shape)
        check_nodes(x, None)
        check_adjacency(x, a)
        if self.graphs is None and len(x) == 2 and any(len(one) == 1 for one in others):
            self.supports_jit = False  # the number of graphs depends on values
        self.mlp.build((None, x[-1]))

    def call(self, inputs: Any, mask: Any = None) -> tuple[Any, ...]:
        x, a, _, i, is_node = read_graph(inputs)
        x = floating(x, self.compute_dtype)
        edges = connect(x, a)
        if is_node is None:
            is_node = mask_of_nodes(mask)
        s, members = membership(ops.softmax(at_least_float32(self.mlp(x))), i, is_node, self.graphs)
        s = ops.where(members.exist, s, ops.zeros_like(s))
        by_node = ops.reshape(s, (*ops.shape(x)[:-1], self.k))
        sent = edges.multiply(by_node)
        degree = ops.cast(edges.degree(), s.dtype)
        volume = degree * ops.sum(ops.square(by_node), axis=-1, keepdims=True)

        def pool(h: Any) -> Any:
            """Return S^T H of each graph, `(graphs, k, features)`."""
            return _transposed_product(s, _rows_of(s, ops.cast(h, s.dtype)), members)

        pooled_x, pooled_a = pool(x), pool(sent)
        volume = members.sum(_rows_of(s, volume))[:, 0]
        has_nodes = members.count()[:, 0] > 0
        self.add_loss(_mean_over(has_nodes, _cut_loss(pooled_a, volume)))
        self.add_loss(_mean_over(has_nodes, _orthogonality_loss(pool(by_node))))
        outputs = [pooled_x, _normalized_without_loops(pooled_a)]
        if len(x.shape) == 2 and i is None:
            outputs = [ops.squeeze(one, 0) for one in outputs]
        if self.return_selection:
            outputs.append(by_node)
        return tuple(ops.cast(one, self.compute_dtype) for one in outputs)

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> tuple[Any, ...]:
        x, _, _, i, _ = read_graph(inputs)
        batch = x.shape[:-2] if i is None else (self.graphs,)
        shapes = [(*batch, self.k, x.shape[-1]), (*batch, self.k, self.k)]
        if self.return_selection:
            shapes.append((*x.shape[:-1], self.k))
        return tuple(keras.KerasTensor(shape, self.compute_dtype) for shape in shapes)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: clusters are not padded."""
        return

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "k": self.k,
            "mlp_hidden": self.mlp.hidden,
            "mlp_activation": keras.activations.serialize(self.mlp.activation),
            "return_selection": self.return_selection,
            "graphs": self.graphs,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
            "bias_constraint": keras.constraints.serialize(self.bias_constraint),
        }


def _rows_of(s: Any, h: Any) -> Any:
    """Return features of nodes as messages to graphs, in the layout of S."""
    return ops.reshape(h, (*ops.shape(s)[:-1], h.shape[-1]))


def _transposed_product(s: Any, h: Any, members: Edges) -> Any:
    """Return the sum of s_n h_n^T over the nodes of each graph."""
    if not isinstance(members, ListedEdges):
        return ops.matmul(ops.swapaxes(s, -1, -2), h)
    pairs = ops.expand_dims(s, -1) * ops.expand_dims(h, -2)
    width = s.shape[-1] * h.shape[-1]
    summed = members.sum(ops.reshape(pairs, (-1, width)))
    return ops.reshape(summed, (-1, s.shape[-1], h.shape[-1]))


def _mean_over(chosen: Any, values: Any) -> Any:
    chosen = ops.cast(chosen, values.dtype)
    return ops.sum(chosen * values) / ops.maximum(ops.sum(chosen), 1.0)


def _cut_loss(pooled_a: Any, volume: Any) -> Any:
    """Return the loss of the cut of each graph, 0 for a graph without edges."""
    within = ops.trace(pooled_a, axis1=-2, axis2=-1)
    is_connected = ops.not_equal(volume, 0)
    return ops.where(is_connected, -within / ops.where(is_connected, volume, 1.0), 0.0)


def _orthogonality_loss(overlaps: Any) -> Any:
    """Return the distance of S^T S from a multiple of the identity, each of Frobenius norm 1."""
    k = overlaps.shape[-1]
    unit = overlaps * ops.rsqrt(_sum_of_squares(overlaps) + 1e-20)
    distance = unit - ops.eye(k, dtype=overlaps.dtype) / k**0.5
    return ops.sqrt(_sum_of_squares(distance)[:, 0, 0] + 1e-20)


def _sum_of_squares(matrices: Any) -> Any:
    return ops.sum(ops.square(matrices), axis=(-2, -1), keepdims=True)


def _normalized_without_loops(a: Any) -> Any:
    """Return D^-1/2 A D^-1/2 of matrices whose diagonal is set to 0."""
    a = a * (1.0 - ops.eye(a.shape[-1], dtype=a.dtype))
    degree = ops.sum(a, axis=-1, keepdims=True)
    is_reached = degree > 0
    scale = ops.where(is_reached, ops.rsqrt(ops.where(is_reached, degree, 1.0)), 0.0)
    return scale * a * ops.swapaxes(scale, -1, -2)
