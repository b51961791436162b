"""Convolutions defined by the Laplacian of a graph."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, graphs
from keras_ssl.layers.graph.conv._normalized import normalized_product
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.layers.graph.graph_layer import shapes_of_inputs
from keras_ssl.ops.graph.edges import Edges, connect
from keras_ssl.ops.graph.sparse import is_sparse, multiply_features


@keras.saving.register_keras_serializable(package="keras_ssl")
class ChebConv(GraphConv):
    r"""Graph convolution by a polynomial of the Laplacian, a filter over K - 1 hops.

        H = activation(sum_k T_k(L̃) X W_k + b),    k = 0 .. K - 1
        T_0(L̃) = I,    T_1(L̃) = L̃,    T_k(L̃) = 2 L̃ T_k-1(L̃) - T_k-2(L̃)
        L̃ = 2 / λ_max L - I,    L = I - D^-1/2 A D^-1/2

    The layer takes L̃. For a constant graph, compute it once before training:
    `a = ChebConv.preprocess(a)`. If `a` changes between steps, for example by edge dropout,
    `normalize=True` computes L̃ in each call. Both use λ_max = 2, the upper bound for a normalized
    Laplacian; `preprocess(a, lambda_max=None)` computes the largest eigenvalue. Self-loops are
    ignored. `a` must be symmetric.

    Args:
        channels: number of output features per node.
        K: number of Chebyshev polynomials. With `K=1` neighbors are not used.
        normalize: whether `a` is the plain adjacency, from which L̃ is computed in each call.
        activation: activation function.
        use_bias: whether to add a bias.
        **kwargs: initializers, regularizers and constraints of kernel and bias, as in
            `keras.layers.Dense`; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`. `x` may be sparse. `a` as in `layers.graph.MessagePassing`.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        ValueError: if `channels` or `K` is not positive, shapes do not match, or `normalize` meets
            a negative degree. A compiled call cannot raise this error, and gives NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import ChebConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> layer = ChebConv(4, K=3, activation="relu")
    >>> layer([np.ones((3, 2)), ChebConv.preprocess(a)]).shape
    TensorShape([3, 4])

    Reference:
        - [Defferrard et al., 2016](https://arxiv.org/abs/1606.09375)
    """

    aggregations = ("sum",)
    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        K: int = 3,
        normalize: bool = False,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        self.K = checks.integer("K", K, minimum=1)
        self.normalize = bool(normalize)

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.kernel = self.add_kernel((self.K, features, self.channels))
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        edges = connect(x, a)
        multiply = _rescaled_laplacian_of(edges) if self.normalize else edges.multiply
        # W first if features are sparse, or if L̃ then multiplies fewer columns
        kernel_first = is_sparse(x) or self.channels < x.shape[-1]
        polynomial = _kernel_first if kernel_first else _kernel_last
        return self.finish(polynomial(multiply, x, ops.convert_to_tensor(self.kernel)))

    @staticmethod
    def preprocess(a: Any, lambda_max: float | None = 2.0) -> Any:
        """Compute L̃ of one matrix or of arrays `(batch, n, n)` by `graphs.rescaled_laplacian`."""
        if len(getattr(a, "shape", ())) == 3:
            return np.stack([graphs.rescaled_laplacian(one, lambda_max) for one in a])
        return graphs.rescaled_laplacian(a, lambda_max)

    def get_config(self) -> dict:
        return {**super().get_config(), "K": self.K, "normalize": self.normalize}


def _rescaled_laplacian_of(edges: Edges) -> Any:
    """Return the function h -> L̃ h, where L̃ = -D^-1/2 A D^-1/2 for λ_max = 2."""
    no_weight = ops.zeros_like(edges.weights)
    edges = edges.with_weights(ops.where(edges.are_loops(), no_weight, edges.weights))
    product = normalized_product(edges, self_loops=False)
    return lambda h: -product(h)


def _kernel_last(multiply: Any, x: Any, kernel: Any) -> Any:
    """sum_k (T_k X) W_k by the recurrence of the T_k."""
    before, term = None, x
    total = ops.matmul(term, kernel[0])
    for k in range(1, kernel.shape[0]):
        product = multiply(term)
        before, term = term, product if k == 1 else 2 * product - before
        total = total + ops.matmul(term, kernel[k])
    return total


def _kernel_first(multiply: Any, x: Any, kernel: Any) -> Any:
    """sum_k T_k (X W_k) by Clenshaw's recurrence: b_k = X W_k + 2 L̃ b_k+1 - b_k+2."""
    later, latest = None, None
    for k in reversed(range(1, kernel.shape[0])):
        term = multiply_features(x, kernel[k])
        if later is not None:
            term = term + 2 * multiply(later)
        if latest is not None:
            term = term - latest
        later, latest = term, later
    total = multiply_features(x, kernel[0])
    if later is not None:
        total = total + multiply(later)
    return total if latest is None else total - latest


@keras.saving.register_keras_serializable(package="keras_ssl")
class SpectralConv(GraphConv):
    r"""Graph convolution in the Fourier basis of one graph.

        H = activation(U F(U^T X) + b),    F(X̂)_k = X̂_k W_k

    The columns of U, `(nodes, frequencies)`, are eigenvectors of the Laplacian, smooth ones first.
    The k-th row of U^T X contains the coefficients of the features for the k-th eigenvector, and
    W_k the multipliers of that frequency, from each feature to each channel. The layer takes U
    instead of an adjacency: compute `basis = SpectralConv.preprocess(a, count)` once before
    training. The multipliers are specific to this basis and do not transfer to other graphs.

    With `knots`, W_k is a smooth function of k, a natural cubic spline through learned points.
    Filters are then more local, and the number of weights does not depend on the size of the graph.

    The basis is dense, so the layer is for small graphs.

    Args:
        channels: number of output features per node.
        knots: number of spline points, from 2 to the number of frequencies; `None` for separate
            multipliers for each frequency.
        activation: activation function.
        use_bias: whether to add a bias.
        **kwargs: `kernel_initializer`, `kernel_regularizer` and `kernel_constraint` of the
            multipliers (fan-in and fan-out are those of one frequency), `bias_initializer`,
            `bias_regularizer` and `bias_constraint`, as in `keras.layers.Dense`; `name`, `dtype`
            and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, basis]`. `x` may be sparse.

    Input shape:
        `x` is `(nodes, features)` and `basis` is `(nodes, frequencies)` in single mode. In mixed
        mode `x` has a batch axis, in batch mode both have. Disjoint mode is not supported.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        ValueError: if `channels` or `knots` is out of range, or the basis has another number of
            nodes or frequencies, more frequencies than nodes, or fewer than `knots`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import SpectralConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> basis = SpectralConv.preprocess(a, count=2)
    >>> SpectralConv(4)([np.ones((3, 5)), basis]).shape
    TensorShape([3, 4])

    Reference:
        - [Bruna et al., 2013](https://arxiv.org/abs/1312.6203)
    """

    aggregations = ("sum",)
    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        knots: int | None = None,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        self.knots = checks.integer("knots", knots, minimum=2, optional=True)

    def build(self, input_shape: Any) -> None:
        x, basis, *more = shapes_of_inputs(input_shape)
        if more:
            raise ValueError(
                "`SpectralConv` must be called on `[x, basis]`. Received: inputs of shapes "
                f"{input_shape}"
            )
        _check_basis(x, basis)
        if None in (x[-1], basis[-1]):
            raise ValueError(
                "The numbers of node features and of frequencies must be known. Received: "
                f"features of shape {x}, basis of shape {basis}"
            )
        self.frequencies = basis[-1]
        if self.knots is not None and self.knots > self.frequencies:
            raise ValueError(
                f"`knots` must be at most the number of frequencies, {self.frequencies}. "
                f"Received: knots={self.knots}"
            )
        shape = (self.knots or self.frequencies, x[-1], self.channels)
        self.kernel = self.add_stacked_kernels(shape)
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, basis, _ = self.split_inputs(inputs)
        basis = ops.cast(basis, self.compute_dtype)  # unlike an adjacency
        _check_basis(tuple(x.shape), tuple(basis.shape), self.frequencies)
        spectrum = ops.matmul(ops.swapaxes(basis, -1, -2), x)
        multipliers = ops.convert_to_tensor(self.kernel)
        if self.knots is not None:
            spline = ops.cast(_spline(self.knots, self.frequencies), multipliers.dtype)
            multipliers = ops.tensordot(spline, multipliers, axes=1)
        filtered = ops.einsum("...kf,kfc->...kc", spectrum, multipliers)
        return self.finish(ops.matmul(basis, filtered))

    @staticmethod
    def preprocess(a: Any, count: int | None = None) -> np.ndarray:
        """Compute the smoothest eigenvectors of the Laplacian with `graphs.laplacian_eigenbasis`.

        Args:
            a: symmetric adjacency, scipy.sparse or array of shape `(n, n)`, or `(batch, n, n)`.
            count: number of eigenvectors, or `None` for all.

        Returns:
            `(n, count)` or `(batch, n, count)`, float32.
        """
        if len(getattr(a, "shape", ())) == 3:
            return np.stack([graphs.laplacian_eigenbasis(one, count)[1] for one in a])
        return graphs.laplacian_eigenbasis(a, count)[1]

    def get_config(self) -> dict:
        return {**super().get_config(), "knots": self.knots}


def _check_basis(x: tuple, basis: Any, frequencies: int | None = None) -> None:
    """Check the shapes of node features and basis, and the number of frequencies if given."""
    is_basis = not isinstance(basis, dict) and len(basis) in (2, 3) and len(basis) <= len(x)
    if len(x) not in (2, 3) or not is_basis:
        raise ValueError(
            "`SpectralConv` takes node features (nodes, features) and a basis (nodes, "
            "frequencies), each with or without a batch axis. Received: shapes "
            f"{x} and {basis}"
        )
    nodes, count = basis[-2:]
    if None not in (nodes, x[-2]) and nodes != x[-2]:
        raise ValueError(
            "Features and basis must have the same number of nodes. Received: features of "
            f"{x[-2]} nodes (shape {x}), a basis of {nodes} (shape {basis})"
        )
    if None not in (nodes, count) and count > nodes:
        raise ValueError(
            f"A basis of {nodes} nodes has at most {nodes} frequencies. Received: shape {basis}"
        )
    if None not in (count, frequencies) and count != frequencies:
        raise ValueError(
            f"The layer was built for a basis of {frequencies} frequencies. Received: a basis of "
            f"{count} (shape {basis})"
        )


def _spline(knots: int, frequencies: int) -> np.ndarray:
    """Return the matrix from values at equidistant knots to a natural cubic spline."""
    from scipy.interpolate import CubicSpline

    places = np.linspace(0, frequencies - 1, knots)
    return CubicSpline(places, np.eye(knots), bc_type="natural")(np.arange(frequencies))
