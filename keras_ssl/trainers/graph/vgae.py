"""VGAE: the variational graph autoencoder."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.graph.graph_autoencoder import GraphAutoencoder
from keras_ssl.trainers.graph.on_graph import on_graph
from keras_ssl.trainers.parts import serialize_parts


@keras.saving.register_keras_serializable(package="keras_ssl")
class VGAE(GraphAutoencoder):
    r"""Variational graph autoencoder: a distribution of vectors a node, near a normal prior.

    On the features H of an encoder, two heads give the mean and the logarithm of the standard
    deviation of each node's latent vector. It is drawn from there, and edges are decoded
    from inner products as in `trainers.GAE`:

        μ = f_μ(H, A),    log σ = f_σ(H, A),    z_i = μ_i + σ_i ε,    ε ~ N(0, 1)

    Beside the cross entropy of edges stands the divergence from the prior N(0, 1), in the
    proportion that both have in the evidence lower bound, a pair of nodes: with n nodes

        L = L_GAE(Z) + 1/n² Σ_i KL(N(μ_i, σ_i²) || N(0, 1))

    The representation is μ. `trainer.encoder` alone gives H.

    Args:
        encoder: layer or model on graphs that gives the features H of the nodes, which both heads
            read; the paper's is one `layers.graph.GCNConv` to 32 channels with ReLU.
        mean_head: layer f_μ, as a rule on graphs: the paper's is a `layers.graph.GCNConv` to 16
            channels.
        log_std_head: layer f_σ, as wide as f_μ.
        negatives_per_edge: as in `trainers.GAE`.
        seed: integer seed of ε and of random pairs.
        **kwargs: as in `trainers.GAE`.

    Call arguments:
        x: `[x, a]`, and what else graphs have; see `trainers.graph.GraphModel`.
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
        - [Variational Graph Auto-Encoders](https://arxiv.org/abs/1611.07308), Kipf and Welling,
          2016
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
        return on_graph(self.mean_head, h, x)

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
            μ and log σ, each `(..., nodes, dim)`, in float32 at least.
        """
        h = self.encoder(graph, training=training)
        mean, log_std = (on_graph(head, h, graph) for head in (self.mean_head, self.log_std_head))
        if tuple(mean.shape) != tuple(log_std.shape):
            raise ValueError(
                "`mean_head` and `log_std_head` must give vectors of one width. Received: shapes "
                f"{tuple(mean.shape)} and {tuple(log_std.shape)}"
            )
        dtype = keras.backend.result_type(mean.dtype, "float32")
        return ops.cast(mean, dtype), ops.cast(log_std, dtype)

    def sample(self, graph: Any) -> Any:
        """Return latent vectors drawn from their distributions.

        Args:
            graph: `[x, a, ...]`.

        Returns:
            `(..., nodes, dim)`.
        """
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
