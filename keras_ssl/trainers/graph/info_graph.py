"""InfoGraph: mutual information between a graph and its nodes."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.layers import ResidualHead
from keras_ssl.layers.graph import SumPool
from keras_ssl.layers.graph.node_mask import with_mask, without_mask
from keras_ssl.losses import JensenShannonMI
from keras_ssl.ops.graph.inputs import read_graph
from keras_ssl.trainers.checks import check_batch_size, check_type
from keras_ssl.trainers.graph.graph_input import GraphInput, check_graph, check_node_features
from keras_ssl.trainers.graph.graph_model import GraphModel
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class InfoGraph(GraphModel):
    r"""InfoGraph: maximises mutual information between a graph and its nodes.

    The encoder computes for each node u a vector h_u of its neighbourhood: the concatenated outputs
    of all layers. A readout, the sum, computes the representation H of a graph. The outputs of
    two heads, φ of nodes and ψ of graphs, are compared by dot products:

        T(u, G) = φ(h_u) · ψ(H_G)
        L = mean over u of softplus(-T(u, G_u))
            + mean over u and G ≠ G_u of softplus(T(u, G)) - 2 log 2

    over the nodes u and graphs G of a batch, on all replicas, where G_u is the graph of u. This is
    the negative Jensen-Shannon estimate of the mutual information.

    `trainer(x)` returns H, on which a classifier of graphs can be trained; `trainer.encoder`
    returns the vectors of the nodes.

    Args:
        encoder: layer or model on graphs that returns one vector per node, such as
            `networks.gin((32,) * 5)`.
        readout: pooling layer of `layers.graph`. `None` means `layers.graph.SumPool()`.
        node_head: layer φ. `None` means `keras_ssl.layers.ResidualHead()`.
        graph_head: layer ψ, whose output is as wide as that of φ. `None` means
            `keras_ssl.layers.ResidualHead()`.
        loss: called `loss(nodes, graphs, sample_weight, positives=graph_of_node)`, and with
            `is_example=...`, which says which of the graphs exist, if the readout has places for a
            number of graphs. `None` means `keras_ssl.losses.JensenShannonMI()`.
        augment: layer that maps a graph to a graph. `None` means no augmentation, as in the paper.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: graphs: disjoint `(x, a, i)`, batched `(x, a)` or `(x, a, mask)`.
        training: whether the encoder runs in training mode.

    Input shape:
        As `layers.graph.GraphSequential`.

    Output shape:
        The readout's: `(graphs, channels)`.

    Raises:
        TypeError: if a part is not a Keras layer, or `loss` not a Keras loss.
        ValueError: before the first step, if the data is a single graph or a batch of one, the
            encoder does not return one vector per node, or the heads differ in width.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> rng = np.random.default_rng(0)
    >>> x = rng.random((8, 12, 4)).astype("float32")  # 8 graphs of 12 nodes
    >>> a = (rng.random((8, 12, 12)) < 0.2).astype("float32")
    >>> trainer = keras_ssl.trainers.InfoGraph(keras_ssl.networks.gin((16, 16)))
    >>> trainer.compile(optimizer=keras.optimizers.Adam(1e-3))
    >>> history = trainer.fit((x, a), batch_size=4, verbose=0)
    >>> trainer.predict((x, a), verbose=0).shape
    (8, 32)

    Reference:
        - [Sun et al., InfoGraph: Unsupervised and Semi-supervised Graph-Level Representation
          Learning via Mutual Information Maximization](https://arxiv.org/abs/1908.01000)
    """

    input_kind = GraphInput(mean_over="nodes")
    minimum_batch = 2  # negatives are other graphs

    def __init__(
        self,
        encoder: keras.layers.Layer,
        readout: keras.layers.Layer | None = None,
        node_head: keras.layers.Layer | None = None,
        graph_head: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        augment: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        self.readout = SumPool() if readout is None else readout
        self.node_head = ResidualHead() if node_head is None else node_head
        self.graph_head = ResidualHead() if graph_head is None else graph_head
        for name in ("readout", "node_head", "graph_head"):
            check_type(name, getattr(self, name), keras.layers.Layer)
        self.loss_function = JensenShannonMI() if loss is None else loss
        check_type("loss", self.loss_function, keras.losses.Loss)

    def check_views(self, views: Any) -> None:
        """Raise a `ValueError` unless `views` is a batch or union of graphs."""
        check_graph(views)
        if len(views[0].shape) == 2 and read_graph(views).i is None:
            raise ValueError(
                "InfoGraph compares graphs: expected `(x, a, i)` with the graph of each node as "
                "integers, such as from `data.disjoint_batches`, or `(x, a, mask)` with x of shape "
                "(batch, nodes, features), such as from `data.padded_batches`. "
                f"Received: a single graph, x of shape {tuple(views[0].shape)}"
            )

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the representations of graphs."""
        return self._encode(x, training)[1]

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the outputs of both heads, the graph and mask of the nodes, and H."""
        _, _, _, i, mask = read_graph(batch.views)
        nodes, graphs = self._encode(batch.views, training)
        is_graph = None
        if i is not None and getattr(self.readout, "graphs", None) is not None:
            # a union may have fewer graphs than the readout has places for
            is_graph = ops.arange(ops.shape(graphs)[0], dtype=i.dtype) <= ops.max(i)
        of_nodes = self.input_kind.mask_padding(nodes, batch.views, self.node_head)
        of_graphs = with_mask(graphs, is_graph, self.graph_head)
        embeddings = {
            "nodes": without_mask(self.node_head(of_nodes, training=training)),
            "graphs": without_mask(self.graph_head(of_graphs, training=training)),
            "representation": graphs,
        }
        parts = {"graph_of_node": i, "mask": mask, "is_graph": is_graph}
        return embeddings | {name: part for name, part in parts.items() if part is not None}

    def _encode(self, x: Any, training: bool) -> tuple[Any, Any]:
        """Return vectors of the nodes and of the graphs."""
        _, _, _, i, mask = read_graph(x)
        nodes = self.encoder(x, training=training)
        check_node_features(nodes, x[0])
        return nodes, self.readout(nodes if i is None else [nodes, i], mask=mask)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss over all pairs of a node and a graph."""
        nodes, graphs = embeddings["nodes"], embeddings["graphs"]
        if nodes.shape[-1] != graphs.shape[-1]:
            raise ValueError(
                "`node_head` and `graph_head` must return vectors of the same width. "
                f"Received: {nodes.shape[-1]} of nodes and {graphs.shape[-1]} of graphs"
            )
        is_node, count = embeddings.get("mask"), ops.shape(graphs)[0]
        if "graph_of_node" in embeddings:
            # the base has checked the number of nodes of a union, not of graphs
            replicas = self.distribute_strategy.num_replicas_in_sync
            check_batch_size(graphs, self.minimum_batch, replicas)
            graph_of_node = ops.cast(embeddings["graph_of_node"], "int32")
            inside = ops.logical_and(graph_of_node >= 0, graph_of_node < count)
            is_node = inside if is_node is None else ops.logical_and(inside, is_node)
            graph_of_node = ops.where(inside, graph_of_node, ops.zeros_like(graph_of_node))
        else:
            places = nodes.shape[1] or ops.shape(nodes)[1]
            graph_of_node = ops.repeat(ops.arange(count, dtype="int32"), places)
            nodes = ops.reshape(nodes, (-1, nodes.shape[-1]))
        weights = None if is_node is None else _scaled(ops.reshape(is_node, (-1,)))
        padding = {}
        if "is_graph" in embeddings:
            padding = {"is_example": embeddings["is_graph"]}
        loss = self.loss_function(nodes, graphs, weights, positives=graph_of_node, **padding)
        return {"mutual_information": loss}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            readout=self.readout,
            node_head=self.node_head,
            graph_head=self.graph_head,
            loss=self.loss_function,
        )
        return {**super().get_config(), **parts}


def _scaled(is_node: Any) -> Any:
    """Return weights that turn a mean over the rows of all replicas into one over nodes."""
    is_node = ops.cast(is_node, "float32")
    nodes = distribute.all_reduce_sum(ops.sum(is_node))
    rows = ops.cast(ops.size(is_node) * distribute.replica_count(), "float32")
    return is_node * rows / ops.maximum(nodes, 1.0)
