"""Convolution by Chebyshev polynomials of the Laplacian."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import graphs
from keras_ssl.layers.graph.connect import connect
from keras_ssl.layers.graph.conv._graph_conv import GraphConv, positive_integer
from keras_ssl.layers.graph.edges import Edges
from keras_ssl.layers.graph.sparse_product import multiply_features
from keras_ssl.layers.graph.sparse_tensors import is_sparse


@keras.saving.register_keras_serializable(package="keras_ssl")
class ChebConv(GraphConv):
    r"""Graph convolution by a polynomial of the Laplacian: a filter that reaches K - 1 edges far.

        H = activation(sum_k T_k(L̃) X W_k + b),    k = 0 .. K - 1
        T_0(L̃) = I,    T_1(L̃) = L̃,    T_k(L̃) = 2 L̃ T_k-1(L̃) - T_k-2(L̃)
        L̃ = 2 / λ_max L - I,    L = I - D^-1/2 A D^-1/2

    The layer takes L̃. For a graph that stays as it is, compute it once, before training:
    `a = ChebConv.preprocess(a)`. Where `a` changes from step to step, as where edges are dropped,
    `normalize=True` computes L̃ in each call. Both take λ_max as 2, the bound that no normalised
    Laplacian exceeds; `preprocess(a, lambda_max=None)` computes the largest eigenvalue itself.
    Edges of a node to itself are left out. `a` must be symmetric.

    Args:
        channels: number of features that a node has afterwards.
        K: number of Chebyshev polynomials. With `K=1` nodes do not see one another.
        normalize: whether `a` is the plain adjacency, to be made L̃ in each call.
        activation: activation function.
        use_bias: whether to add a bias.
        kernel_initializer: initializer of the kernel `(K, features, channels)`.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the kernel.
        bias_regularizer: regularizer of the bias.
        kernel_constraint: constraint of the kernel.
        bias_constraint: constraint of the bias.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`. `x` may be sparse. `a` as in `layers.graph.MessagePassing`.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        ValueError: if `channels` or `K` is not a positive integer, or shapes do not fit.

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

    def __init__(self, channels: int, K: int = 3, normalize: bool = False, **kwargs: Any):
        super().__init__(channels, **kwargs)
        self.K = positive_integer("K", K)
        self.normalize = bool(normalize)

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.kernel = self.add_kernel((self.K, features, self.channels))
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        edges = connect(x, a)
        multiply = multiply_rescaled_laplacian(edges) if self.normalize else edges.multiply
        # fewer columns to multiply with, and features may be sparse: W first, then L̃
        kernel_first = is_sparse(x) or self.channels < x.shape[-1]
        polynomial = _kernel_first if kernel_first else _kernel_last
        return self.finish(polynomial(multiply, x, ops.convert_to_tensor(self.kernel)))

    @staticmethod
    def preprocess(a: Any, lambda_max: float | None = 2.0) -> Any:
        """Return L̃ of a SciPy matrix or NumPy array; see `graphs.rescaled_laplacian`.

        Args:
            a: symmetric adjacency, scipy.sparse or array of shape `(n, n)`, or `(batch, n, n)`.
            lambda_max: the largest eigenvalue of L, or `None` to compute it.

        Returns:
            The same kind of matrix.

        Raises:
            ValueError: if `a` is no symmetric adjacency, or `lambda_max` is not positive.
        """
        if len(getattr(a, "shape", ())) == 3:
            return np.stack([graphs.rescaled_laplacian(one, lambda_max) for one in a])
        return graphs.rescaled_laplacian(a, lambda_max)

    def get_config(self) -> dict:
        return {**super().get_config(), "K": self.K, "normalize": self.normalize}


def multiply_rescaled_laplacian(edges: Edges) -> Any:
    """Return the function h -> L̃ h for λ_max = 2, where L̃ = -D^-1/2 A D^-1/2, loops left out.

    Args:
        edges: the edges of A.

    Returns:
        The function.
    """
    no_weight = ops.zeros_like(edges.weights)
    edges = edges.with_weights(ops.where(edges.are_loops(), no_weight, edges.weights))
    degree = edges.degree()
    is_reached = degree > 0
    scale = ops.where(is_reached, ops.rsqrt(ops.where(is_reached, degree, 1.0)), 0.0)

    def multiply(h: Any) -> Any:
        root = ops.cast(scale, h.dtype)
        return -root * edges.multiply(root * h)

    return multiply


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
