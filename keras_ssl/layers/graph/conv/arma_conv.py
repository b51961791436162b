"""Graph convolutions with a skip connection: GCS, and ARMA filters made of it."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, graphs
from keras_ssl.layers.graph.conv._normalized import normalized_product
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.ops.graph.edges import connect
from keras_ssl.ops.graph.sparse import multiply_features


@keras.saving.register_keras_serializable(package="keras_ssl")
class GCSConv(GraphConv):
    r"""Graph convolution with a trainable skip connection.

        H = activation(Ã X W_1 + X W_2 + b),    Ã = D^-1/2 A D^-1/2

    Unlike in `GCNConv`, a node has a kernel of its own instead of a self-loop. The layer takes Ã:
    compute `a = GCSConv.preprocess(a)` once before training, or set `normalize=True`.

    Args:
        channels: number of output features per node.
        activation: activation function.
        normalize: whether `a` is the plain adjacency, from which Ã is computed in each call.
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
        ValueError: if `channels` is not positive, or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import GCSConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> GCSConv(4, activation="relu")([np.ones((3, 2)), GCSConv.preprocess(a)]).shape
    TensorShape([3, 4])

    Reference:
        - [Bianchi et al., 2019](https://arxiv.org/abs/1901.01343), the layer of its ARMA filters
    """

    aggregations = ("sum",)
    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        activation: Any = None,
        *,
        normalize: bool = False,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        self.normalize = bool(normalize)

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        self.kernel_1 = self.add_kernel((features, self.channels), "kernel_1")
        self.kernel_2 = self.add_kernel((features, self.channels), "kernel_2")
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        multiply = _product(x, a, self.normalize)
        h = multiply(multiply_features(x, self.kernel_1))
        return self.finish(h + multiply_features(x, self.kernel_2))

    @staticmethod
    def preprocess(a: Any) -> Any:
        """Compute Ã with `graphs.normalized_adjacency(a, self_loops=False)`."""
        return graphs.normalized_adjacency(a, self_loops=False)

    def get_config(self) -> dict:
        return {**super().get_config(), "normalize": self.normalize}


@keras.saving.register_keras_serializable(package="keras_ssl")
class ARMAConv(GraphConv):
    r"""Graph convolution by auto-regressive moving average filters.

        X_k,0 = X
        X_k,t+1 = gcn_activation(Ã X_k,t W_k,t + dropout(X V_k,t) + b_k,t),    t = 0 .. T - 1
        H = activation(1/K sum_k X_k,T),    Ã = D^-1/2 A D^-1/2

    Each of the K stacks approximates a filter of one pole, a rational function of the spectrum that
    polynomials as in `ChebConv` need many hops for. The layer takes Ã: compute
    `a = ARMAConv.preprocess(a)` once before training, or set `normalize=True`.

    Args:
        channels: number of output features per node.
        order: K, the number of stacks.
        iterations: T, the number of iterations of each stack.
        share_weights: whether the iterations after the first share their weights.
        gcn_activation: activation function of each iteration.
        dropout_rate: dropout rate of the skip connections.
        activation: activation function of the output.
        normalize: whether `a` is the plain adjacency, from which Ã is computed in each call.
        seed: integer seed of the dropout.
        use_bias: whether to add biases.
        **kwargs: initializers, regularizers and constraints of kernel and bias, as in
            `keras.layers.Dense`; `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`. `x` may be sparse. `a` as in `layers.graph.MessagePassing`.
        training: whether to apply dropout.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        ValueError: if `channels`, `order` or `iterations` is not positive, `dropout_rate` is out of
            range, or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import ARMAConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> layer = ARMAConv(4, order=2, iterations=3, share_weights=True, dropout_rate=0.5)
    >>> layer([np.ones((3, 2)), ARMAConv.preprocess(a)]).shape
    TensorShape([3, 4])

    Reference:
        - [Bianchi et al., 2019](https://arxiv.org/abs/1901.01343)
    """

    aggregations = ("sum",)
    takes_sparse_features = True

    def __init__(
        self,
        channels: int,
        order: int = 1,
        iterations: int = 1,
        share_weights: bool = False,
        gcn_activation: Any = "relu",
        dropout_rate: float = 0.0,
        activation: Any = None,
        *,
        normalize: bool = False,
        seed: int | None = None,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(channels, activation, use_bias, **kwargs)
        self.order = checks.integer("order", order, minimum=1)
        self.iterations = checks.integer("iterations", iterations, minimum=1)
        self.share_weights = bool(share_weights)
        self.gcn_activation = keras.activations.get(gcn_activation)
        self.dropout_rate = checks.below_one("dropout_rate", dropout_rate)
        self.normalize = bool(normalize)
        self.seed = checks.integer("seed", seed, optional=True)
        self.dropout = keras.layers.Dropout(
            dropout_rate, seed=seed, dtype=self.dtype_policy, name="dropout"
        )

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        # the weights of stack k in iteration t are `stacks[k][t]`, in the order of Spektral's
        iterations = min(self.iterations, 2) if self.share_weights else self.iterations
        self.stacks = [
            [self._add_iteration(features, stack, number) for number in range(iterations)]
            for stack in range(self.order)
        ]

    def _add_iteration(self, features: int, stack: int, number: int) -> tuple[Any, Any, Any]:
        name = f"stack_{stack}_iteration_{number}"
        width = self.channels if number else features
        kernel = self.add_kernel((width, self.channels), f"{name}_kernel")
        skip_kernel = self.add_kernel((features, self.channels), f"{name}_skip_kernel")
        self.add_bias(self.channels, f"{name}_bias")
        return kernel, skip_kernel, self.bias

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x, a, _ = self.split_inputs(inputs)
        multiply = _product(x, a, self.normalize)
        stacks = [x] * self.order
        for number in range(self.iterations):
            weights = [stack[min(number, len(stack) - 1)] for stack in self.stacks]
            # all stacks side by side, in one product with the adjacency
            sent = ops.concatenate(
                [multiply_features(h, one[0]) for h, one in zip(stacks, weights, strict=True)], -1
            )
            skipped = ops.concatenate([multiply_features(x, one[1]) for one in weights], -1)
            h = multiply(sent) + self.dropout(skipped, training=training)
            if self.use_bias:
                h = h + ops.concatenate([one[2] for one in weights], -1)
            stacks = [self.gcn_activation(one) for one in ops.split(h, self.order, axis=-1)]
        return self.activation(sum(stacks) / self.order)

    @staticmethod
    def preprocess(a: Any) -> Any:
        """Compute Ã with `graphs.normalized_adjacency(a, self_loops=False)`."""
        return graphs.normalized_adjacency(a, self_loops=False)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "order": self.order,
            "iterations": self.iterations,
            "share_weights": self.share_weights,
            "gcn_activation": keras.activations.serialize(self.gcn_activation),
            "dropout_rate": self.dropout_rate,
            "normalize": self.normalize,
            "seed": self.seed,
        }


def _product(x: Any, a: Any, normalize: bool) -> Any:
    """Return the function h -> Ã h, of the plain adjacency or of Ã."""
    edges = connect(x, a)
    return normalized_product(edges, self_loops=False) if normalize else edges.multiply
