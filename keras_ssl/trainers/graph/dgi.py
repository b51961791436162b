"""Deep Graph Infomax: mutual information between nodes and a summary of their graph."""

from typing import Any

import keras
from keras import ops

from keras_ssl.augment.graph import FeatureShuffle
from keras_ssl.layers import BilinearCritic
from keras_ssl.layers.graph import MeanPool
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.inputs import read_graph
from keras_ssl.ops.graph.membership import membership
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.graph.graph_input import check_node_features
from keras_ssl.trainers.graph.graph_model import GraphModel
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class DGI(GraphModel):
    r"""Deep Graph Infomax: maximises mutual information between nodes and a summary of the graph.

    The encoder ℰ computes vectors of the nodes, H = ℰ(X, A), and of the nodes of a corrupted graph,
    H̃ = ℰ(X̃, Ã). The readout computes a summary s = ℛ(H) of the graph. Given the summary, a critic
    distinguishes nodes of the graph from corrupted ones, with logits T(h, s):

        L = 1/2N sum_i [softplus(-T(h_i, s)) + softplus(T(h̃_i, s))]

    This binary cross entropy is averaged over the N nodes of a graph, then over graphs. By default
    the corruption shuffles the features of the nodes and keeps the edges, the summary is
    s = σ(mean h_i), and T(h, s) = hᵀ W s, as in the paper for a single graph.

    `trainer([x, a])` returns the vectors of the nodes. After training, `trainer.encoder` is kept;
    corruption, readout and critic are discarded.

    Args:
        encoder: layer or model on graphs that returns one vector per node, such as
            `networks.gcn` or `layers.graph.GraphSequential`.
        corruption: layer that maps a graph to a corrupted graph with the same nodes. `None` means
            `keras_ssl.augment.graph.FeatureShuffle()`.
        readout: pooling layer of `layers.graph`. `None` means `layers.graph.MeanPool()`.
        summary_activation: activation that is applied to the output of the readout.
        critic: layer that maps vectors of nodes `(..., channels)` and of graphs `(graphs,
            features)` to two tensors whose dot products are the logits. `None` means
            `keras_ssl.layers.BilinearCritic()`.
        augment: layer that maps a graph to a graph, before both encodings. `None` means no
            augmentation, as in the paper.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a graph or graphs in any mode: `(x, a)`, disjoint `(x, a, i)`, batched `(x, a, mask)`.
        training: whether the encoder runs in training mode.

    Input shape:
        As `layers.graph.GraphSequential`.

    Output shape:
        The encoder's: `(nodes, channels)` or `(batch, nodes, channels)`.

    Raises:
        TypeError: if a part is not a Keras layer.
        ValueError: before the first step, if the data is not a graph or the encoder does not
            return one vector per node.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> from keras_ssl.layers.graph import GCNConv, GraphSequential
    >>> rng = np.random.default_rng(0)
    >>> x = rng.random((8, 12, 4)).astype("float32")  # 8 graphs of 12 nodes
    >>> a = (rng.random((8, 12, 12)) < 0.2).astype("float32")
    >>> encoder = GraphSequential([GCNConv(16, normalize=True), keras.layers.ReLU()])
    >>> trainer = keras_ssl.trainers.DGI(encoder)
    >>> trainer.compile(optimizer=keras.optimizers.Adam(1e-3))
    >>> history = trainer.fit((x, a), batch_size=4, verbose=0)
    >>> trainer.encoder([x, a]).shape
    TensorShape([8, 12, 16])

    Reference:
        - [Veličković et al., Deep Graph Infomax](https://arxiv.org/abs/1809.10341)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        corruption: keras.layers.Layer | None = None,
        readout: keras.layers.Layer | None = None,
        summary_activation: Any = "sigmoid",
        critic: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        self.corruption = FeatureShuffle() if corruption is None else corruption
        self.readout = MeanPool() if readout is None else readout
        self.critic = BilinearCritic() if critic is None else critic
        for name in ("corruption", "readout", "critic"):
            check_type(name, getattr(self, name), keras.layers.Layer)
        self.summary_activation = keras.activations.get(summary_activation)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the loss of each graph, and the vectors of the nodes."""
        graph = batch.views
        _, _, _, i, mask = read_graph(graph)
        features = self.encoder(graph, training=training)
        check_node_features(features, graph[0])
        corrupted = self.encoder(self.corruption(graph, training=True), training=training)
        pooled = self.readout(features if i is None else [features, i], mask=mask)
        summary = self.summary_activation(pooled)

        graphs = getattr(self.readout, "graphs", None)
        nodes, members = membership(features, i, mask, graphs)
        corrupted, _ = membership(corrupted, i, mask, graphs)
        values = ops.softplus(-self._logits(nodes, summary, members, training))
        values += ops.softplus(self._logits(corrupted, summary, members, training))
        values = members.mean(values)[:, 0] / 2
        if i is not None and graphs is not None:
            # the batch may hold fewer graphs than the readout has places for
            exist = ops.cast(members.count()[:, 0] > 0, values.dtype)
            values = ops.sum(values, keepdims=True) / ops.maximum(ops.sum(exist), 1)
        return {"infomax": values, "representation": features}

    def _logits(self, nodes: Any, summary: Any, members: Any, training: bool) -> Any:
        """Return the logit of each node and the summary of its graph, `(..., nodes, 1)`."""
        of_nodes, of_graphs = (
            at_least_float32(factor) for factor in self.critic(nodes, summary, training=training)
        )
        return ops.sum(of_nodes * members.from_receivers(of_graphs), axis=-1, keepdims=True)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            corruption=self.corruption, readout=self.readout, critic=self.critic
        )
        activation = keras.activations.serialize(self.summary_activation)
        return {**super().get_config(), **parts, "summary_activation": activation}
