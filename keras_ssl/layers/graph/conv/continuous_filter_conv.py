"""The continuous-filter convolution of SchNet and what it is made of."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.layers.graph.graph_layer import apply_to_edges, build_network, check_layer
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.edges import connect
from keras_ssl.ops.graph.sparse import multiply_features


@keras.saving.register_keras_serializable(package="keras_ssl")
def shifted_softplus(x: Any) -> Any:
    """SchNet's activation, a softplus that is 0 at 0: `ln(exp(x) / 2 + 1 / 2)`.

    Args:
        x: tensor.

    Returns:
        Tensor of the shape of `x`.

    Example:

    >>> from keras_ssl.layers.graph import shifted_softplus
    >>> float(shifted_softplus(0.0))
    0.0

    Reference:
        - [Schütt et al., 2017](https://arxiv.org/abs/1706.08566)
    """
    return keras.ops.softplus(x) - math.log(2.0)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RadialBasis(keras.layers.Layer):
    """Expand distances in Gaussians around equidistant centers.

        e_k(d) = exp(-gamma (d - mu_k)^2)

    A network on the expansion is nonlinear in the distance from the start of training. Computed in
    float32 or better.

    Args:
        centers: number of Gaussians, at least 2.
        start: mu_1, the first center, in the unit of the distances.
        stop: the last center.
        gamma: inverse squared width of the Gaussians; `None` for a standard deviation equal to the
            spacing of the centers, `1 / (2 spacing^2)`.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: distances.

    Input shape:
        `(..., 1)`.

    Output shape:
        `(..., centers)`.

    Raises:
        ValueError: if `centers` is less than 2, `stop` not greater than `start`, `gamma` not
            positive, or the input has more than one feature.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import RadialBasis
    >>> RadialBasis(3, start=0.0, stop=2.0)(np.array([[1.0]])).numpy().round(2).tolist()[0]
    [0.61..., 1.0, 0.61...]

    Reference:
        - [Schütt et al., 2017](https://arxiv.org/abs/1706.08566)
    """

    def __init__(
        self,
        centers: int = 50,
        start: float = 0.0,
        stop: float = 5.0,
        gamma: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not stop > start:
            raise ValueError(
                f"`stop` must be greater than `start`. Received: start={start}, stop={stop}"
            )
        self.centers = checks.integer("centers", centers, minimum=2)
        self.start = start
        self.stop = stop
        self.gamma = None if gamma is None else checks.positive("gamma", gamma)

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] != 1:
            raise ValueError(
                f"Distances must have shape (..., 1). Received: shape {tuple(input_shape)}"
            )

    def call(self, inputs: Any) -> Any:
        distances = at_least_float32(inputs)
        mu = ops.linspace(self.start, self.stop, self.centers, dtype=distances.dtype)
        spacing = (self.stop - self.start) / (self.centers - 1)
        gamma = 0.5 / spacing**2 if self.gamma is None else self.gamma
        return ops.cast(ops.exp(-gamma * ops.square(distances - mu)), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.centers)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "centers": self.centers,
            "start": self.start,
            "stop": self.stop,
            "gamma": self.gamma,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class ContinuousFilterConv(GraphConv):
    r"""Graph convolution whose filter is a learned function of the distance between nodes.

        h_i = activation(W_out sum_j (W_in x_j) * filter(d_ij) + b)
        filter(d) = network(exp(-gamma (d - mu_k)^2)_k) * cutoff(d)
        cutoff(d) = (cos(pi d / d_max) + 1) / 2  for d < d_max, otherwise 0

    `*` is elementwise. Distances are expanded in radial functions, from which a network computes
    the filter, so atoms need not lie on a grid. With a cutoff the filter decreases smoothly to 0 at
    d_max, where edges appear and disappear.

    Distances are the edge features. Edge weights are not used, except that 0 means no edge.

    Args:
        channels: number of output features per node.
        filters: number of features that are filtered; `None` for `channels`.
        filter_network: Keras layer from the radial functions to `filters`; `None` for two dense
            layers, the first with `shifted_softplus`.
        radial_basis: Keras layer from distances `(..., 1)` to radial functions; `None` for
            `RadialBasis()`, 50 Gaussians from 0 to 5. Its range should cover the distances.
        cutoff: d_max, in the unit of the distances, or `None`.
        activation: activation function.
        use_bias: whether to add a bias.
        **kwargs: `aggregation` ("sum" as in the paper by default); `kernel_initializer`,
            `bias_initializer`, `kernel_regularizer`, `bias_regularizer`, `kernel_constraint` and
            `bias_constraint`, as in `keras.layers.Dense`; `name`, `dtype` and other arguments of
            `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a, distances]`. `x` may be sparse. `a` as in `layers.graph.MessagePassing`.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list; `distances` is `(edges, 1)` in the order of the
        edges, or `(..., nodes, nodes, 1)` for a dense `a`.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        ValueError: if `channels`, `filters` or `cutoff` is not positive, distances are missing or
            not one per edge, a network returns another number of filters, or shapes do not match.
        TypeError: if `filter_network` or `radial_basis` is not a Keras layer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import ContinuousFilterConv, RadialBasis
    >>> positions = np.array([[0.0, 0.0, 0.0], [1.1, 0.0, 0.0], [0.0, 1.5, 0.0]])
    >>> distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    >>> layer = ContinuousFilterConv(8, radial_basis=RadialBasis(20, stop=3.0), cutoff=3.0)
    >>> layer([np.ones((3, 4)), 1.0 - np.eye(3), distances[..., None]]).shape
    TensorShape([3, 8])

    Reference:
        - [Schütt et al., 2017](https://arxiv.org/abs/1706.08566)
    """

    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        filters: int | None = None,
        filter_network: keras.layers.Layer | None = None,
        radial_basis: keras.layers.Layer | None = None,
        cutoff: float | None = None,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        filters = self.channels if filters is None else filters
        self.filters = checks.integer("filters", filters, minimum=1)
        self.cutoff = None if cutoff is None else checks.positive("cutoff", cutoff)
        self.radial_basis = (
            RadialBasis(dtype=self.dtype_policy) if radial_basis is None else radial_basis
        )
        if filter_network is None:
            filter_network = keras.Sequential(
                [
                    keras.layers.Dense(self.filters, shifted_softplus, dtype=self.dtype_policy),
                    keras.layers.Dense(self.filters, dtype=self.dtype_policy),
                ],
                name="filter_network",
            )
        self.filter_network = filter_network
        check_layer("radial_basis", self.radial_basis)
        check_layer("filter_network", self.filter_network)

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        if edge_features != 1:
            raise ValueError(
                "`ContinuousFilterConv` must be called on `[x, a, distances]`, with distances of "
                f"shape (..., 1), one per edge. Received: {edge_features or 'no'} features of edges"
            )
        width = build_network(self.filter_network, build_network(self.radial_basis, 1))
        if width != self.filters:
            raise ValueError(
                f"`filter_network` must return {self.filters} filters. Received: a network that "
                f"returns {width}"
            )
        self.in_kernel = self.add_kernel((features, self.filters), name="in_kernel")
        self.out_kernel = self.add_kernel((self.filters, self.channels), name="out_kernel")
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, distances = self.split_inputs(inputs)
        h = self.propagate(multiply_features(x, self.in_kernel), connect(x, a), distances)
        return self.finish(ops.matmul(h, self.out_kernel))

    def message(self, x: Any, edges: Any, e: Any = None) -> Any:
        return edges.from_senders(x) * ops.cast(self.filter(e, edges.exist), x.dtype)

    def filter(self, distances: Any, exist: Any = None) -> Any:
        """Return the filter `(..., filters)` at distances `(..., 1)` of the edges that exist."""
        expanded = apply_to_edges(self.radial_basis, distances)
        values = apply_to_edges(self.filter_network, expanded, exist)
        if self.cutoff is None:
            return values
        share = 0.5 * (ops.cos(distances * (math.pi / self.cutoff)) + 1)
        share = ops.where(distances < self.cutoff, share, ops.zeros_like(share))
        return values * ops.cast(share, values.dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "filter_network": keras.saving.serialize_keras_object(self.filter_network),
            "radial_basis": keras.saving.serialize_keras_object(self.radial_basis),
            "cutoff": self.cutoff,
        }
