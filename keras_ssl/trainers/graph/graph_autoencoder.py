"""Graph autoencoders, GAE and VGAE, which decode edges from inner products of latent vectors."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.ops.graph.inputs import read_graph
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.graph._node_pairs import NodePairs
from keras_ssl.trainers.graph._nodes import call_on_nodes
from keras_ssl.trainers.graph.graph_input import GraphInput, check_node_features
from keras_ssl.trainers.graph.graph_model import GraphModel
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


class _GraphAutoencoder(GraphModel):
    """Base of methods that encode nodes and decode edges; `trainers.GAE` documents the arguments.

    Subclasses implement `latent(graph, training)`.
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
        """Return the latent vectors of the nodes of a graph `(x, a, ...)`.

        Returns:
            The vectors from which edges are decoded; the representation, which is the output of
            `call`; and the divergence from the prior, one value per node, or `None`.
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
        """Return the representation of the nodes of `[x, a, ...]`, of shape `(..., nodes, dim)`."""
        return self(graph, training=False)

    def decode(self, z: Any, pairs: Any = None) -> Any:
        """Return the probability of edges, the sigmoid of inner products.

        Args:
            z: vectors of the nodes, `(..., nodes, dim)`.
            pairs: integers `(m, 2)`, the pairs of nodes to score; `None` means all.

        Returns:
            Tensor of shape `(..., m)`, or `(..., nodes, nodes)` for all pairs.
        """
        z = ops.convert_to_tensor(z)
        if pairs is None:
            return ops.sigmoid(ops.matmul(z, ops.swapaxes(z, -1, -2)))
        ends = ops.take(z, ops.convert_to_tensor(pairs), axis=-2)
        return ops.sigmoid(ops.sum(ops.prod(ends, axis=-2), axis=-1))

    def reconstruct(self, graph: Any) -> Any:
        """Return the probability of all edges of `[x, a, ...]`, of shape `(..., nodes, nodes)`."""
        return self.decode(self.encode(graph))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        own = {"negatives_per_edge": self.negatives_per_edge, "seed": self.seed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_ssl")
class GAE(_GraphAutoencoder):
    r"""Graph autoencoder: nodes joined by an edge get vectors with a large inner product.

    An encoder maps each node to a vector, and the decoder computes from two vectors the probability
    of an edge between their nodes:

        Z = f(X, A),    p_ij = sigmoid(z_i · z_j)

    The loss is the cross entropy of edges and other pairs. As in the paper, both kinds get the
    same weight, since there are many more pairs without an edge. With E the edges, including one
    from every node to itself, and N the other pairs:

        L = -1/2 mean_{ij in E} log p_ij - 1/2 mean_{ij in N} log(1 - p_ij)

    Only pairs of nodes of the same graph count, without padding. In batch mode the loss is the
    mean over graphs; in disjoint mode the pairs of all graphs have the same weight.

    Inner products are symmetric, so this is a method for undirected graphs, whose adjacency holds
    both directions. Edge weights are ignored, except that an edge of weight 0 does not exist; the
    plain adjacency and `GCNConv.preprocess(a)` therefore have the same edges. Edges that are to be
    predicted later must not be in `a`: see `graphs.split_edges`.

    Args:
        encoder: layer or model on graphs `f` that returns one vector per node, such as
            `networks.gcn((32, 16))`; in the paper, the last layer has no activation.
        negatives_per_edge: `None` compares all pairs of nodes; memory grows with the square of the
            number of nodes, which suits some thousand nodes. An integer draws that many random
            pairs for each edge of `a` instead; memory grows with the number of edges, and the loss
            is an unbiased estimate. `a` must then be sparse or an edge list without duplicates.
        seed: integer seed of the random pairs.
        **kwargs: `augment`, a layer that changes the graph that is encoded but not the edges that
            are decoded; `name`, `dtype` of the model.

    Call arguments:
        x: `[x, a]` and optional parts of a graph; see `trainers.graph.GraphModel`.
        training: whether the encoder runs in training mode.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` the adjacency in any form.

    Output shape:
        The encoder's: `(nodes, dim)` or `(batch, nodes, dim)`.

    Raises:
        TypeError: if `encoder` is not a Keras layer, or `negatives_per_edge` not an integer.
        ValueError: if `negatives_per_edge` is not positive; before the first step, if the data is
            not a graph, a graph has no edges or is not symmetric, the encoder pools nodes, or
            `negatives_per_edge` is used with a dense adjacency.

    Example:

    >>> import keras
    >>> from keras_ssl import data, layers, trainers
    >>> club = data.load_graph("karate_club")
    >>> encoder = layers.graph.GraphSequential(
    ...     [
    ...         layers.graph.GCNConv(8, normalize=True, activation="relu"),
    ...         layers.graph.GCNConv(4, normalize=True),
    ...     ]
    ... )
    >>> trainer = trainers.GAE(encoder)
    >>> trainer.compile(keras.optimizers.Adam(0.01))
    >>> history = trainer.fit(data.single_graph(club), epochs=2, verbose=0)
    >>> (x, a), _ = next(iter(data.single_graph(club)))
    >>> z = trainer.encode([x, a])
    >>> trainer.decode(z, pairs=[[0, 1], [0, 33]]).shape
    TensorShape([2])

    Reference:
        - [Kipf & Welling, Variational Graph Auto-Encoders](https://arxiv.org/abs/1611.07308)
    """

    def latent(self, graph: Any, training: bool) -> tuple[Any, Any, Any]:
        """Return the encoder's output as latent vectors and representation, and no divergence."""
        z = self.encoder(graph, training=training)
        return z, z, None


@keras.saving.register_keras_serializable(package="keras_ssl")
class VGAE(_GraphAutoencoder):
    r"""Variational graph autoencoder: a distribution of latent vectors per node.

    On the features H of an encoder, two heads compute the mean and the logarithm of the standard
    deviation of each node's latent vector. A vector is drawn from this distribution, and edges are
    decoded from inner products as in `trainers.GAE`:

        μ = f_μ(H, A),    log σ = f_σ(H, A),    z_i = μ_i + σ_i ε,    ε ~ N(0, 1)

    The loss is the cross entropy of edges plus the divergence from the prior N(0, 1), both per
    pair of nodes, in the proportion of the evidence lower bound. With n nodes:

        L = L_GAE(Z) + 1/n² Σ_i KL(N(μ_i, σ_i²) || N(0, 1))

    The representation is μ. `trainer.encoder` alone returns H.

    Args:
        encoder: layer or model on graphs that returns the features H of the nodes; the paper's is
            a `layers.graph.GCNConv` with 32 channels and ReLU.
        mean_head: layer f_μ, usually on graphs; the paper's is a `layers.graph.GCNConv` with 16
            channels.
        log_std_head: layer f_σ, with as many channels as f_μ.
        negatives_per_edge: as in `trainers.GAE`.
        seed: integer seed of ε and of random pairs.
        **kwargs: as in `trainers.GAE`.

    Call arguments:
        x: `[x, a]` and optional parts of a graph; see `trainers.graph.GraphModel`.
        training: whether networks run in training mode.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` the adjacency in any form.

    Output shape:
        That of μ: `(nodes, dim)` or `(batch, nodes, dim)`.

    Raises:
        TypeError: if a part is not a Keras layer.
        ValueError: as `trainers.GAE`; before the first step, if the heads differ in width.

    Example:

    >>> import keras
    >>> from keras_ssl import data, layers, trainers
    >>> club = data.load_graph("karate_club")
    >>> trainer = trainers.VGAE(
    ...     layers.graph.GCNConv(8, normalize=True, activation="relu"),
    ...     mean_head=layers.graph.GCNConv(4, normalize=True),
    ...     log_std_head=layers.graph.GCNConv(4, normalize=True),
    ... )
    >>> trainer.compile(keras.optimizers.Adam(0.01))
    >>> history = trainer.fit(data.single_graph(club), epochs=2, verbose=0)
    >>> sorted(history.history)
    ['kl', 'loss', 'reconstruction']
    >>> (x, a), _ = next(iter(data.single_graph(club)))
    >>> trainer.encode([x, a]).shape, trainer.sample([x, a]).shape
    (TensorShape([34, 4]), TensorShape([34, 4]))

    Reference:
        - [Kipf & Welling, Variational Graph Auto-Encoders](https://arxiv.org/abs/1611.07308)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        mean_head: keras.layers.Layer,
        log_std_head: keras.layers.Layer,
        negatives_per_edge: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, negatives_per_edge, seed, **kwargs)
        check_type("mean_head", mean_head, keras.layers.Layer)
        check_type("log_std_head", log_std_head, keras.layers.Layer)
        self.mean_head = mean_head
        self.log_std_head = log_std_head

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the means of the latent vectors."""
        h = self.encoder(x, training=training)
        return call_on_nodes(self.mean_head, h, x)

    def latent(self, graph: Any, training: bool) -> tuple[Any, Any, Any]:
        """Return vectors drawn from the distributions, their means, and the divergence."""
        mean, log_std = self.distribution(graph, training)
        kl = 0.5 * (ops.exp(2 * log_std) + ops.square(mean) - 1) - log_std
        return self._draw(mean, log_std), mean, ops.sum(kl, axis=-1)

    def distribution(self, graph: Any, training: bool = False) -> tuple[Any, Any]:
        """Return the distributions of the latent vectors.

        Args:
            graph: `[x, a, ...]`.
            training: whether networks run in training mode.

        Returns:
            μ and log σ, each of shape `(..., nodes, dim)`, in float32 or float64.
        """
        h = self.encoder(graph, training=training)
        mean = call_on_nodes(self.mean_head, h, graph)
        log_std = call_on_nodes(self.log_std_head, h, graph)
        if tuple(mean.shape) != tuple(log_std.shape):
            raise ValueError(
                "`mean_head` and `log_std_head` must return vectors of the same width. "
                f"Received: shapes {tuple(mean.shape)} and {tuple(log_std.shape)}"
            )
        dtype = keras.backend.result_type(mean.dtype, "float32")
        return ops.cast(mean, dtype), ops.cast(log_std, dtype)

    def sample(self, graph: Any) -> Any:
        """Draw latent vectors of the nodes of `[x, a, ...]`, of shape `(..., nodes, dim)`."""
        return self._draw(*self.distribution(graph))

    def _draw(self, mean: Any, log_std: Any) -> Any:
        noise = distribute.draw_per_example(
            lambda rows: keras.random.normal(
                (rows, *ops.shape(mean)[1:]), dtype=mean.dtype, seed=self.seed_generator
            ),
            ops.shape(mean)[0],
        )
        return mean + ops.exp(log_std) * noise

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(mean_head=self.mean_head, log_std_head=self.log_std_head)
        return {**super().get_config(), **parts}
