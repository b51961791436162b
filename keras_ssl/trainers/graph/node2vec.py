"""node2vec: nodes that random walks meet together get embeddings that are alike."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute, graphs
from keras_ssl.graphs.random_walks import check_nodes, check_walk, draw_steps, pick, walk
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.engine.assertions import assert_in_range
from keras_ssl.trainers.graph.stored_neighbors import StoredNeighbors, is_sizes
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class Node2Vec(SelfSupervisedModel):
    r"""node2vec, and with p = q = 1 DeepWalk: skip-gram with negative samples on random walks.

    From every node of the batch starts a walk w_0, w_1, ..., w_l by `graphs.random_walks`. Of any
    two nodes u, v that stand at most k steps apart on it, the embedding z of the one must tell
    the other, by its context vector c, from m random nodes:

        L = mean over (u, v) of -log σ(z_u·c_v) - Σ_i log σ(-z_u·c_{n_i}),    n_i ~ P_n

    P_n is proportional to the weight of a node's edges, to a power. The m negatives of a
    position on the walk serve all its contexts. A walk that has come to an end gives no more pairs;
    that of an isolated node gives none, and a loss of 0.

    The data are numbers of nodes, one walk each: `trainer.fit(np.arange(n), epochs=r)` walks r
    times from every node, along walks of its own every time.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` knows, with weights above 0.
            Files keep it. (A configuration has its sizes in this place.)
        dim: width of the embeddings.
        walk_length: l, how many steps a walk takes.
        context_size: k, at least 1 and at most `walk_length`.
        p: return parameter, above 0; a small one keeps walks near where they start.
        q: in-out parameter, above 0; a small one lets them go far.
        negative_samples: m, at least 1.
        noise_exponent: the power in P_n. With 0 all nodes are equally probable.
        seed: integer seed of embeddings, walks and negatives.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: numbers of nodes.

    Input shape:
        `(batch,)`, integers from 0 to n - 1.

    Output shape:
        `(batch, dim)`: their embeddings. `trainer.embeddings` holds those of all nodes.

    Raises:
        TypeError: if `graph` is no graph, a number is none, or, before the first step, the data
            holds no integers.
        ValueError: if the graph has no edges, or a number is out of its range. Before the first
            step, if the data is not of shape `(batch,)`, or arrays name a node that is not there.
        tf.errors.InvalidArgumentError: if other data names one, in its step. XLA leaves that out.

    Example:

    >>> import networkx as nx, numpy as np, keras_ssl
    >>> club = nx.karate_club_graph()
    >>> trainer = keras_ssl.trainers.Node2Vec(club, dim=8, walk_length=10, context_size=3)
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(np.arange(34), batch_size=17, verbose=0)
    >>> trainer.embeddings.shape
    TensorShape([34, 8])

    Reference:
        - [Grover & Leskovec, node2vec: Scalable Feature Learning for Networks](
          https://arxiv.org/abs/1607.00653)
        - [Perozzi et al., DeepWalk: Online Learning of Social Representations](
          https://arxiv.org/abs/1403.6652)
    """

    def __init__(
        self,
        graph: Any,
        dim: int = 128,
        walk_length: int = 80,
        context_size: int = 10,
        p: float = 1.0,
        q: float = 1.0,
        negative_samples: int = 5,
        noise_exponent: float = 0.75,
        seed: int | None = None,
        **kwargs: Any,
    ):
        check_walk(walk_length, p, q, name="walk_length")
        checks.number("noise_exponent", noise_exponent, minimum=0)
        dim = checks.integer("dim", dim, minimum=1)
        context_size = checks.integer("context_size", context_size, minimum=1)
        negative_samples = checks.integer("negative_samples", negative_samples, minimum=1)
        if context_size > walk_length:
            raise ValueError(
                f"`context_size` must be at most `walk_length`={walk_length}. "
                f"Received: context_size={context_size}"
            )
        super().__init__(**kwargs)
        self.walk_length, self.context_size = int(walk_length), context_size
        self.p, self.q = float(p), float(q)
        self.dim, self.negative_samples = dim, negative_samples
        self.noise_exponent = float(noise_exponent)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        is_config = is_sizes(graph)
        self.walkable = StoredNeighbors(graph if is_config else graphs.neighbors_of(graph))
        self.nodes = self.walkable.sizes["nodes"]
        self.noise = StoredNeighbors(
            {"nodes": 1, "edges": self.nodes, "largest_degree": self.nodes, "is_weighted": True}
            if is_config
            else _noise(graph, self.noise_exponent)
        )
        # as word2vec starts them
        start = keras.initializers.RandomUniform(-0.5 / dim, 0.5 / dim, seed=seed)
        self.encoder = keras.layers.Embedding(self.nodes, self.dim, start, name="embedding")
        self.contexts = keras.layers.Embedding(self.nodes, self.dim, "zeros", name="contexts")
        for table in (self.encoder, self.contexts):
            table.build()

    @property
    def embeddings(self) -> Any:
        """The embeddings of all nodes, `(n, dim)`."""
        return self.encoder.embeddings.value

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs, for batches of nodes of these shapes.

        Args:
            x: `keras.KerasTensor`, numbers of nodes.
            y: the same for the labels, or `None`.

        Raises:
            TypeError: if they are not integers.
            ValueError: if they are not of shape `(batch,)`.
        """
        if not hasattr(x, "shape"):
            raise ValueError(
                "Expected `x` to be one array of numbers of nodes, of shape (batch,). "
                f"Received: {keras.tree.map_structure(lambda one: tuple(one.shape), x)}"
            )
        check_nodes(x, "x")
        super().build_step(x, y)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Walk from the nodes, and return the loss of each walk and the nodes' embeddings."""
        nodes = assert_in_range(batch.x, self.nodes, _out_of_range(self.nodes, "another number"))
        walks, negatives = self._draw(nodes)
        z = self.encoder(walks)
        losses = self._skip_gram(z, self.contexts(walks), self.contexts(negatives), walks)
        return {"skip_gram": losses, "representation": z[:, 0]}

    def _draw(self, nodes: Any) -> tuple[Any, Any]:
        """Return walks `(batch, l + 1)` from the nodes, and negatives `(batch, l + 1, m)`."""
        size, generator = ops.shape(nodes)[0], self.seed_generator
        steps = distribute.draw_per_example(
            lambda count: draw_steps(count, self.walk_length, generator), size
        )
        shape = (self.walk_length + 1, self.negative_samples)
        uniform = distribute.draw_per_example(
            lambda count: keras.random.uniform((count, *shape), seed=generator), size
        )
        walks = walk(self.walkable.neighbors, nodes, steps, self.p, self.q)
        everywhere = ops.zeros_like(uniform, dtype="int32")
        return walks, pick(self.noise.neighbors, everywhere, uniform)

    def _skip_gram(self, z: Any, contexts: Any, negatives: Any, walks: Any) -> Any:
        """Return the mean loss of the pairs of each walk."""
        z, contexts, negatives = (ops.cast(one, "float32") for one in (z, contexts, negatives))
        is_pair = self._pairs(walks)
        pairs_of_node = ops.sum(is_pair, axis=2)
        scores = ops.einsum("bid,bjd->bij", z, contexts)
        positive = ops.sum(is_pair * ops.softplus(-scores), axis=(1, 2))
        scores = ops.einsum("bid,bimd->bim", z, negatives)
        negative = ops.sum(pairs_of_node[..., None] * ops.softplus(scores), axis=(1, 2))
        return (positive + negative) / ops.maximum(ops.sum(pairs_of_node, axis=1), 1.0)

    def _pairs(self, walks: Any) -> Any:
        """Return 1 where two places of a walk stand at most k apart, and the walk reached both."""
        place = np.arange(self.walk_length + 1)
        apart = np.abs(place[:, None] - place[None])
        is_near = ((apart > 0) & (apart <= self.context_size)).astype("float32")
        offsets = self.walkable.neighbors.offsets
        left = walks[:, :-1]
        has_left = ops.take(offsets, left + 1) > ops.take(offsets, left)
        is_reached = ops.cast(ops.pad(has_left, [[0, 0], [1, 0]], constant_values=True), "float32")
        return is_near * is_reached[:, :, None] * is_reached[:, None, :]

    def check_data(self, data: Any) -> None:
        """Raise unless the trainer has a graph, and arrays hold numbers of its nodes."""
        if not self.walkable.is_loaded:
            raise ValueError(
                "The trainer must hold its graph: one made from a configuration alone has no edges "
                "until weights are loaded. Received: no weights"
            )
        if isinstance(data, np.ndarray) and data.size and data.dtype.kind in "iu":
            low, high = data.min(), data.max()
            if low < 0 or high >= self.nodes:
                raise ValueError(_out_of_range(self.nodes, f"numbers from {low} to {high}"))

    def get_config(self) -> dict:
        """Return the constructor's arguments, of the graph its sizes."""
        return {
            **keras.layers.Layer.get_config(self),
            "graph": self.walkable.sizes,
            "dim": self.dim,
            "walk_length": self.walk_length,
            "context_size": self.context_size,
            "p": self.p,
            "q": self.q,
            "negative_samples": self.negative_samples,
            "noise_exponent": self.noise_exponent,
            "seed": self.seed,
        }


def _noise(graph: Any, exponent: float) -> graphs.Neighbors:
    """The nodes as neighbours of one, with weights of the noise."""
    a = graphs.as_graph(graph).a
    # both directions: a node also is the context of those that it sends to
    weights = np.asarray(a.sum(axis=0) + a.sum(axis=1), "float64") ** exponent
    shares = (np.cumsum(weights) / weights.sum()).astype("float32")
    shares[-1] = 1.0
    nodes = np.arange(len(shares), dtype="int32")
    return graphs.Neighbors(np.array([0, len(nodes)], "int32"), nodes, shares, len(nodes))


def _out_of_range(nodes: int, found: str) -> str:
    return f"Nodes must be numbers from 0 to {nodes - 1}, those of `graph`. Received: {found}"
