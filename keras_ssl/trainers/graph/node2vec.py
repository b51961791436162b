"""node2vec: embeddings of nodes by skip-gram on random walks."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute, graphs
from keras_ssl.graphs.random_walks import check_nodes, check_walk, draw_steps, walk
from keras_ssl.losses import neg
from keras_ssl.trainers._noise import NoiseDistribution
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.engine.assertions import assert_in_range
from keras_ssl.trainers.engine.table_rows import RowsEmbedding
from keras_ssl.trainers.step import Batch


class _StoredNeighbors(keras.layers.Layer):
    """Layer that holds the neighbours of all nodes as fixed weights, so that files hold the graph.

    Args:
        neighbors: `graphs.Neighbors` of arrays; or their sizes, as in a configuration. Then the
            layer has no edges until weights are loaded.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, neighbors: graphs.Neighbors | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        is_known = isinstance(neighbors, graphs.Neighbors)
        self.sizes = _sizes_of(neighbors) if is_known else {**neighbors}
        nodes, edges = self.sizes["nodes"], self.sizes["edges"]
        self._offsets = self._add("offsets", nodes + 1, "int32")
        self._nodes = self._add("nodes", edges, "int32")
        self._shares = self._add("shares", edges, "float32") if self.sizes["is_weighted"] else None
        self.built = True
        if is_known:
            for weight, values in zip(self._stored(), neighbors, strict=True):
                if weight is not None:
                    weight.assign(values)

    def _add(self, name: str, size: int, dtype: str) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=(size,),
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",  # it never changes
        )

    def _stored(self) -> tuple:
        return self._offsets, self._nodes, self._shares, None

    @property
    def neighbors(self) -> graphs.Neighbors:
        """The neighbours, as tensors."""
        offsets, nodes, shares, _ = (None if one is None else one.value for one in self._stored())
        return graphs.Neighbors(offsets, nodes, shares, self.sizes["largest_degree"])

    @property
    def is_loaded(self) -> bool:
        """Whether the weights hold the edges."""
        return int(np.asarray(self._offsets)[-1]) == self.sizes["edges"]

    def get_config(self) -> dict:
        """Return the sizes."""
        return {**super().get_config(), "neighbors": self.sizes}


@keras.saving.register_keras_serializable(package="keras_ssl")
class Node2Vec(SelfSupervisedModel):
    r"""node2vec, and with p = q = 1 DeepWalk: skip-gram with negative samples on random walks.

    A walk w_0, w_1, ..., w_l as by `graphs.random_walks` starts at every node of the batch. For
    any two nodes u, v at most k steps apart on it, the embedding z of u must distinguish the
    context vector c of v from those of m random nodes:

        L = mean over (u, v) of -log σ(z_u·c_v) - Σ_i log σ(-z_u·c_{n_i}),    n_i ~ P_n

    P_n is proportional to a power of the total weight of a node's edges. All contexts of a position
    on the walk share its m negatives. A walk ends at a node without outgoing edges; that of an
    isolated node has no pairs, and a loss of 0.

    The data is indices of nodes, at which walks start: `trainer.fit(np.arange(n), epochs=r)` takes
    r different walks from every node.

    Args:
        graph: graph of any kind that `keras_ssl.graphs.as_graph` takes, with positive weights.
            It is saved with the weights; a configuration holds its sizes instead.
        dim: width of the embeddings.
        walk_length: l, number of steps of a walk.
        context_size: k, at least 1 and at most `walk_length`.
        p: return parameter, positive; small values keep walks near their start.
        q: in-out parameter, positive; small values let walks go far.
        negative_samples: m, at least 1.
        noise_exponent: the power in P_n. With 0, all nodes are equally probable.
        seed: integer seed of embeddings, walks and negatives.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: indices of nodes.

    Input shape:
        `(batch,)`, integers from 0 to n - 1.

    Output shape:
        `(batch, dim)`, their embeddings. `trainer.embeddings` holds those of all nodes.

    Raises:
        TypeError: if `graph` is not a graph, an argument is not a number, or, before the first
            step, the data does not hold integers.
        ValueError: if the graph has no edges, or an argument is out of range. Before the first
            step, if the data is not of shape `(batch,)`, or an array has an index out of range.
        tf.errors.InvalidArgumentError: by the step, if other data has an index out of range, and
            the step is not compiled by XLA.

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

    learns_from = "graphs"

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
        is_config = isinstance(graph, Mapping) and set(graph) == _SIZES
        self.walkable = _StoredNeighbors(graph if is_config else graphs.neighbors_of(graph))
        self.nodes = self.walkable.sizes["nodes"]
        self.noise = NoiseDistribution(self.nodes, name="noise")
        if not is_config:
            self.noise.set_weights_of(_total_weights(graph) ** self.noise_exponent)
        # initialised as in word2vec
        start = keras.initializers.RandomUniform(-0.5 / dim, 0.5 / dim, seed=seed)
        self.encoder = RowsEmbedding(self.nodes, self.dim, start, name="embedding")
        self.contexts = RowsEmbedding(self.nodes, self.dim, "zeros", name="contexts")
        for table in (self.encoder, self.contexts):
            table.build()

    @property
    def embeddings(self) -> Any:
        """The embeddings of all nodes, `(n, dim)`."""
        return self.encoder.embeddings.value

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs, for a `keras.KerasTensor` of indices of nodes."""
        if not hasattr(x, "shape"):
            raise ValueError(
                "Expected `x` to be one array of indices of nodes, of shape (batch,). "
                f"Received: {keras.tree.map_structure(lambda one: tuple(one.shape), x)}"
            )
        check_nodes(x, "x")
        super().build_step(x, y)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Draw walks, and return the loss of each and the embedding of its first node."""
        nodes = assert_in_range(batch.x, self.nodes, _out_of_range(self.nodes, "another index"))
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
        negatives = distribute.draw_per_example(
            lambda count: self.noise.draw((count, *shape), generator), size
        )
        return walk(self.walkable.neighbors, nodes, steps, self.p, self.q), negatives

    def _skip_gram(self, z: Any, contexts: Any, negatives: Any, walks: Any) -> Any:
        """Return the mean loss of the pairs of each walk."""
        z, contexts, negatives = (ops.cast(one, "float32") for one in (z, contexts, negatives))
        is_pair = self._pairs(walks)
        scores = ops.einsum("bid,bjd->bij", z, contexts)
        noise = ops.einsum("bid,bimd->bim", z, negatives)
        labels = ops.where(is_pair > 0, 1, -1)
        labels = ops.concatenate([labels, ops.zeros_like(noise, labels.dtype)], axis=2)
        scores = ops.concatenate([scores, noise], axis=2)
        losses = ops.sum(neg(labels, scores, self.negative_samples), axis=1)
        return losses / ops.maximum(ops.sum(is_pair, axis=(1, 2)), 1.0)

    def _pairs(self, walks: Any) -> Any:
        """Return 1 for two positions of a walk at most k apart, if the walk reached both."""
        place = np.arange(self.walk_length + 1)
        apart = np.abs(place[:, None] - place[None])
        is_near = ((apart > 0) & (apart <= self.context_size)).astype("float32")
        offsets = self.walkable.neighbors.offsets
        left = walks[:, :-1]
        has_left = ops.take(offsets, left + 1) > ops.take(offsets, left)
        is_reached = ops.cast(ops.pad(has_left, [[0, 0], [1, 0]], constant_values=True), "float32")
        return is_near * is_reached[:, :, None] * is_reached[:, None, :]

    def check_data(self, data: Any) -> None:
        """Raise a `ValueError` if there is no graph, or an array has an index out of range."""
        if not self.walkable.is_loaded:
            raise ValueError(
                "The trainer must hold its graph: a trainer made from a configuration has no edges "
                "until weights are loaded. Received: no weights"
            )
        if isinstance(data, np.ndarray) and data.size and data.dtype.kind in "iu":
            low, high = data.min(), data.max()
            if low < 0 or high >= self.nodes:
                raise ValueError(_out_of_range(self.nodes, f"indices from {low} to {high}"))

    def get_config(self) -> dict:
        """Return the constructor's arguments, with the sizes of the graph in its place."""
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


def _total_weights(graph: Any) -> np.ndarray:
    """Return the total weight of each node's edges."""
    a = graphs.as_graph(graph).a
    # both directions, since a node is a context of its predecessors and its successors
    return np.asarray(a.sum(axis=0) + a.sum(axis=1), "float64").reshape(-1)


def _out_of_range(nodes: int, found: str) -> str:
    return f"Indices of nodes must be from 0 to {nodes - 1}. Received: {found}"


_SIZES = {"nodes", "edges", "largest_degree", "is_weighted"}


def _sizes_of(neighbors: graphs.Neighbors) -> dict[str, Any]:
    """Return what determines the shapes of the arrays of neighbours."""
    return {
        "nodes": len(neighbors.offsets) - 1,
        "edges": len(neighbors.nodes),
        "largest_degree": neighbors.largest_degree,
        "is_weighted": neighbors.shares is not None,
    }
