"""Convolutions that send features along several edges without layers in between."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, graphs
from keras_ssl.layers.graph._perceptron import Perceptron
from keras_ssl.layers.graph.conv._normalized import normalized_product, transition_product
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.ops.graph.edges import connect
from keras_ssl.ops.graph.sparse import is_sparse, multiply_features


@keras.saving.register_keras_serializable(package="keras_ssl")
class SimpleGCN(GraphConv):
    r"""Simple graph convolution (SGC): a dense layer on features averaged over K hops.

        H = activation(Â^K X W + b),    Â = D̃^-1/2 (A + I) D̃^-1/2

    It is K layers of `GCNConv` without activations in between. The layer takes Â, as `GCNConv`
    does: compute `a = SimpleGCN.preprocess(a)` once before training, or set `normalize=True`. If
    the features do not change either, `SimpleGCN.propagate_features(x, a, K)` computes Â^K X
    once, and a dense layer is trained on it, as in the paper.

    Args:
        channels: number of output features per node.
        K: number of hops.
        activation: activation function.
        normalize: whether `a` is the plain adjacency, from which Â is computed in each call.
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
        ValueError: if `channels` or `K` is not positive, or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import SimpleGCN
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> SimpleGCN(4, K=2)([np.ones((3, 2)), SimpleGCN.preprocess(a)]).shape
    TensorShape([3, 4])

    Reference:
        - [Wu et al., 2019](https://arxiv.org/abs/1902.07153)
    """

    aggregations = ("sum",)
    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        K: int = 2,
        activation: Any = None,
        *,
        normalize: bool = False,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        self.K = checks.integer("K", K, minimum=1)
        self.normalize = bool(normalize)

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.kernel = self.add_kernel((features, self.channels))
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        edges = connect(x, a)
        multiply = normalized_product(edges) if self.normalize else edges.multiply
        # of two equal products, the one that sends fewer features
        kernel_first = is_sparse(x) or self.channels < x.shape[-1]
        h = multiply_features(x, self.kernel) if kernel_first else x
        for _ in range(self.K):
            h = multiply(h)
        return self.finish(h if kernel_first else ops.matmul(h, self.kernel))

    @staticmethod
    def preprocess(a: Any) -> Any:
        """Compute Â with `graphs.normalized_adjacency`."""
        return graphs.normalized_adjacency(a)

    @staticmethod
    def propagate_features(x: Any, a: Any, K: int = 2) -> Any:
        """Compute Â^K X of the plain adjacency once, with NumPy and SciPy.

        Args:
            x: node features, array or scipy.sparse of shape `(nodes, features)`.
            a: plain adjacency, array or scipy.sparse of shape `(nodes, nodes)`.
            K: number of hops.

        Returns:
            An array if `x` is one, otherwise scipy.sparse.
        """
        normalized = graphs.normalized_adjacency(a)
        for _ in range(checks.integer("K", K, minimum=1)):
            x = normalized @ x
        return x

    def get_config(self) -> dict:
        return {**super().get_config(), "K": self.K, "normalize": self.normalize}


@keras.saving.register_keras_serializable(package="keras_ssl")
class APPNPConv(GraphConv):
    r"""Personalized propagation of neural predictions: an MLP, then a random walk with restarts.

        Z_0 = MLP(X)
        Z_t+1 = (1 - α) Â Z_t + α Z_0,    Â = D̃^-1/2 (A + I) D̃^-1/2
        H = activation(Z_T)

    In the limit of many steps, each node takes the mean of the predictions of all nodes, weighted
    by their personalized PageRank. The number of weights does not depend on the number of steps.
    The layer takes Â, as `GCNConv` does: compute `a = APPNPConv.preprocess(a)` once before
    training, or set `normalize=True`.

    Args:
        channels: number of output features per node.
        alpha: α, the probability of a restart, in [0, 1]. The paper uses 0.1 to 0.2.
        propagations: T, the number of steps. The paper uses 10.
        mlp_hidden: list of the numbers of features of the hidden layers of the MLP; `None` for a
            single dense layer.
        mlp_activation: activation function of the hidden layers.
        dropout_rate: dropout rate of the input of every hidden layer.
        activation: activation function of the output.
        normalize: whether `a` is the plain adjacency, from which Â is computed in each call.
        seed: integer seed of the dropout.
        use_bias: whether the layers of the MLP have a bias.
        **kwargs: initializers, regularizers and constraints of kernels and biases, as in
            `keras.layers.Dense`; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`. `a` as in `layers.graph.MessagePassing`.
        training: whether to apply dropout.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        ValueError: if `channels`, `propagations` or a number in `mlp_hidden` is not positive,
            `alpha` or `dropout_rate` is out of range, or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import APPNPConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> layer = APPNPConv(4, alpha=0.1, propagations=10, mlp_hidden=[64])
    >>> layer([np.ones((3, 2)), APPNPConv.preprocess(a)]).shape
    TensorShape([3, 4])

    Reference:
        - [Gasteiger et al., 2019](https://arxiv.org/abs/1810.05997)
    """

    aggregations = ("sum",)

    def __init__(
        self,
        channels: int,
        alpha: float = 0.2,
        propagations: int = 1,
        mlp_hidden: list[int] | None = None,
        mlp_activation: Any = "relu",
        dropout_rate: float = 0.0,
        activation: Any = None,
        *,
        normalize: bool = False,
        seed: int | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        self.alpha = checks.probability("alpha", alpha)
        self.propagations = checks.integer("propagations", propagations, minimum=1)
        self.dropout_rate = checks.below_one("dropout_rate", dropout_rate)
        self.normalize = bool(normalize)
        self.seed = checks.integer("seed", seed, optional=True)
        self.mlp = Perceptron(
            mlp_hidden, channels, mlp_activation, dropout_rate=dropout_rate, seed=seed, like=self
        )

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.mlp.build((None, features))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x, a, _ = self.split_inputs(inputs)
        edges = connect(x, a)
        multiply = normalized_product(edges) if self.normalize else edges.multiply
        h = start = self.mlp(x, training=training)
        for _ in range(self.propagations):
            h = (1 - self.alpha) * multiply(h) + self.alpha * start
        return self.activation(h)

    @staticmethod
    def preprocess(a: Any) -> Any:
        """Compute Â with `graphs.normalized_adjacency`."""
        return graphs.normalized_adjacency(a)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "propagations": self.propagations,
            "mlp_hidden": self.mlp.hidden,
            "mlp_activation": keras.activations.serialize(self.mlp.activation),
            "dropout_rate": self.dropout_rate,
            "normalize": self.normalize,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class DiffusionConv(GraphConv):
    r"""Diffusion convolution: a polynomial of the transition matrix of a random walk.

        H = activation(sum_k P^k X W_k + b),    k = 0 .. K,    P = D^-1 A

    P averages over what a node receives. With `bidirectional=True`, a second polynomial with
    kernels of its own averages over what it sends to, D'^-1 A^T, as in the paper: in a directed
    graph, such as that of roads, both directions carry information.

    The layer takes P: compute `a = DiffusionConv.preprocess(a)` once before training, or set
    `normalize=True`, as `bidirectional=True` needs it.

    Args:
        channels: number of output features per node.
        K: number of steps of the walk, the degree of the polynomial.
        activation: activation function.
        bidirectional: whether to walk against the edges too.
        normalize: whether `a` is the plain adjacency, from which P is computed in each call.
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
        ValueError: if `channels` or `K` is not positive, `bidirectional=True` without
            `normalize=True`, or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import DiffusionConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> DiffusionConv(4, K=2)([np.ones((3, 2)), DiffusionConv.preprocess(a)]).shape
    TensorShape([3, 4])
    >>> DiffusionConv(4, K=2, bidirectional=True, normalize=True)([np.ones((3, 2)), a]).shape
    TensorShape([3, 4])

    Reference:
        - [Li et al., 2018](https://arxiv.org/abs/1707.01926)
    """

    aggregations = ("sum",)
    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        K: int = 6,
        activation: Any = "tanh",
        *,
        bidirectional: bool = False,
        normalize: bool = False,
        use_bias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        self.K = checks.integer("K", K, minimum=1)
        self.bidirectional = bool(bidirectional)
        self.normalize = bool(normalize)
        if bidirectional and not normalize:
            raise ValueError(
                "`bidirectional=True` needs `normalize=True` and the plain adjacency, since each "
                "direction has its own degrees. Received: normalize=False"
            )

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.kernel = self.add_kernel((self.K + 1, features, self.channels))
        if self.bidirectional:
            shape = (self.K, features, self.channels)
            self.reverse_kernel = self.add_kernel(shape, "reverse_kernel")
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        edges = connect(x, a)
        multiply = transition_product(edges) if self.normalize else edges.multiply
        kernels = ops.convert_to_tensor(self.kernel)
        h = multiply_features(x, kernels[0]) + _walk(multiply, x, kernels[1:])
        if self.bidirectional:
            back = transition_product(edges.reverse())
            h = h + _walk(back, x, ops.convert_to_tensor(self.reverse_kernel))
        return self.finish(h)

    @staticmethod
    def preprocess(a: Any) -> Any:
        """Compute P with `graphs.row_normalize`, of one matrix or of arrays `(batch, n, n)`."""
        if len(getattr(a, "shape", ())) == 3:
            return np.stack([graphs.row_normalize(one) for one in a])
        return graphs.row_normalize(a)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "K": self.K,
            "bidirectional": self.bidirectional,
            "normalize": self.normalize,
        }


def _walk(multiply: Any, x: Any, kernels: Any) -> Any:
    """Return sum_k P^k X W_k over k = 1, 2, ..., sending whichever has fewer features."""
    if not is_sparse(x) and x.shape[-1] <= kernels.shape[-1]:
        total = 0.0
        for k in range(kernels.shape[0]):
            x = multiply(x)
            total = total + ops.matmul(x, kernels[k])
        return total
    total = multiply_features(x, kernels[-1])
    for k in reversed(range(kernels.shape[0] - 1)):  # Horner's scheme
        total = multiply(total) + multiply_features(x, kernels[k])
    return multiply(total)
