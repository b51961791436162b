"""What autoencoders of graphs share: edges are read off inner products of latent vectors."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops.graph.inputs import read_graph
from keras_ssl.trainers.graph.graph_input import GraphInput, check_node_features
from keras_ssl.trainers.graph.graph_model import GraphModel
from keras_ssl.trainers.graph.node_pairs import NodePairs
from keras_ssl.trainers.step import Batch


class GraphAutoencoder(GraphModel):
    """Base of methods that encode nodes and decode edges from inner products.

    Subclasses implement `latent(graph, training)`.

    Args:
        encoder: layer or model on graphs that gives a vector a node.
        negatives_per_edge: `None` compares all pairs of nodes; an integer, all edges and so many
            random pairs for each.
        seed: integer seed of what is drawn.
        **kwargs: `augment`, which changes the graph that is encoded and not the edges to decode;
            `name`, `dtype` of the model.

    Raises:
        TypeError: if `encoder` is not a Keras layer, or `negatives_per_edge` no integer.
        ValueError: if `negatives_per_edge` is not positive.
    """

    input_kind = GraphInput(needs_edges=True, needs_symmetry=True)

    def __init__(
        self,
        encoder: keras.layers.Layer,
        negatives_per_edge: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, **kwargs)
        if negatives_per_edge is not None:
            negatives_per_edge = checks.integer("negatives_per_edge", negatives_per_edge, minimum=1)
        self.negatives_per_edge = negatives_per_edge
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def latent(self, graph: Any, training: bool) -> tuple[Any, Any, Any]:
        """Return what edges are decoded from.

        Args:
            graph: `(x, a, ...)`.
            training: whether networks run in training mode.

        Returns:
            The latent vectors; the representation, which is what `call` gives; and the divergence
            from the prior, a number a node, or `None` where there is no prior.
        """
        raise NotImplementedError

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the losses of each graph: the cross entropy of its edges, and the divergence."""
        z, representation, divergence = self.latent(batch.views, training)
        check_node_features(z, batch.x[0])
        pairs = NodePairs(read_graph(batch.x), z)
        if self.negatives_per_edge is None:
            reconstruction = pairs.cross_entropy()
        else:
            reconstruction = pairs.sampled_cross_entropy(
                self.negatives_per_edge, self.seed_generator
            )
        kl = {} if divergence is None else {"kl": pairs.mean(divergence)}
        return {"reconstruction": reconstruction, **kl, "representation": representation}

    def encode(self, graph: Any) -> Any:
        """Return the representation of the nodes, as `trainer(graph)` does.

        Args:
            graph: `[x, a, ...]`.

        Returns:
            `(..., nodes, dim)`.
        """
        return self(graph, training=False)

    def decode(self, z: Any, pairs: Any = None) -> Any:
        """Return the probability of edges, the sigmoid of inner products.

        Args:
            z: vectors of the nodes, `(..., nodes, dim)`.
            pairs: integers `(m, 2)`, the pairs of nodes to score; `None` for all.

        Returns:
            `(..., m)`; of all pairs `(..., nodes, nodes)`.
        """
        z = ops.convert_to_tensor(z)
        if pairs is None:
            return ops.sigmoid(ops.matmul(z, ops.swapaxes(z, -1, -2)))
        ends = ops.take(z, ops.convert_to_tensor(pairs), axis=-2)
        return ops.sigmoid(ops.sum(ops.prod(ends, axis=-2), axis=-1))

    def reconstruct(self, graph: Any) -> Any:
        """Return the probability of every edge, decoded from the representation.

        Args:
            graph: `[x, a, ...]`.

        Returns:
            `(..., nodes, nodes)`.
        """
        return self.decode(self.encode(graph))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        own = {"negatives_per_edge": self.negatives_per_edge, "seed": self.seed}
        return {**super().get_config(), **own}
