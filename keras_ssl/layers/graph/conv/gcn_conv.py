"""The graph convolution of Kipf and Welling."""

from typing import Any

import keras

from keras_ssl import graphs
from keras_ssl.layers.graph.conv._normalized import normalized_product
from keras_ssl.layers.graph.conv.message_passing import GraphConv
from keras_ssl.ops.graph.edges import connect
from keras_ssl.ops.graph.sparse import multiply_features


@keras.saving.register_keras_serializable(package="keras_ssl")
class GCNConv(GraphConv):
    r"""Graph convolution: a dense layer, averaged over each node and its neighbors.

        H = activation(Â X W + b),    Â = D̃^-1/2 (A + I) D̃^-1/2,    D̃_ii = sum_j (A + I)_ij

    The layer takes Â. For a constant graph, compute it once before training:
    `a = GCNConv.preprocess(a)`. If `a` changes between steps, for example by edge dropout,
    `normalize=True` computes Â in each call. A node that already has a self-loop keeps its weight
    and gets no second one.

    Args:
        channels: number of output features per node.
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
        ValueError: if `channels` is not positive, shapes do not match, or `normalize` meets a
            negative degree. A compiled call cannot raise this error, and gives NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import GCNConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> layer = GCNConv(4, activation="relu")
    >>> layer([np.ones((3, 2)), GCNConv.preprocess(a)]).shape
    TensorShape([3, 4])

    Reference:
        - [Kipf and Welling, 2017](https://arxiv.org/abs/1609.02907)
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
        self.kernel = self.add_kernel((features, self.channels))
        self.add_bias(self.channels)

    def call(self, inputs: Any) -> Any:
        x, a, _ = self.split_inputs(inputs)
        edges = connect(x, a)
        multiply = normalized_product(edges) if self.normalize else edges.multiply
        return self.finish(multiply(multiply_features(x, self.kernel)))

    @staticmethod
    def preprocess(a: Any) -> Any:
        """Compute Â with `graphs.normalized_adjacency`."""
        return graphs.normalized_adjacency(a)

    def get_config(self) -> dict:
        return {**super().get_config(), "normalize": self.normalize}
