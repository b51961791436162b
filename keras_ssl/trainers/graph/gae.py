"""GAE: the graph autoencoder."""

from typing import Any

import keras

from keras_ssl.trainers.graph.graph_autoencoder import GraphAutoencoder


@keras.saving.register_keras_serializable(package="keras_ssl")
class GAE(GraphAutoencoder):
    r"""Graph autoencoder: nodes that are linked get vectors with a large inner product.

    An encoder gives each node a vector, and the decoder reads from two vectors the probability
    of an edge between their nodes:

        Z = f(X, A),    p_ij = sigmoid(z_i · z_j)

    The loss is the cross entropy of the edges and of the pairs that are none. These are many
    more, so the two kinds are weighed alike, as the paper does. With E the edges, every node's to
    itself among them, and N the other pairs:

        L = -1/2 mean_{ij in E} log p_ij - 1/2 mean_{ij in N} log(1 - p_ij)

    Of several graphs, only pairs within one are compared, and padding is none of them. In batch
    mode the loss is the mean over graphs; in disjoint mode the pairs of all graphs count alike.

    An inner product is symmetric, and so are the edges that it can tell: this is a method for
    undirected graphs, whose adjacency holds both directions. Weights of edges do not count, but
    that one of weight 0 is none, and the plain adjacency and `GCNConv.preprocess(a)` have the same
    edges here. Pairs to be predicted later must not be in `a`: see `graphs.split_edges`.

    Args:
        encoder: layer or model on graphs `f` that gives a vector a node, such as
            `networks.gcn((32, 16))`; the last layer without activation, as in the paper.
        negatives_per_edge: `None` compares all pairs of nodes, in memory that grows with their
            square: good for some thousand nodes. An integer draws so many random pairs for each
            edge that `a` lists, in place of all: memory grows with the edges, and the loss is an
            estimate of the same. `a` must be sparse or an edge list, each edge once.
        seed: integer seed of the random pairs.
        **kwargs: `augment`, a layer that changes the graph that is encoded and not the edges that
            are decoded; `name`, `dtype` of the model.

    Call arguments:
        x: `[x, a]`, and what else graphs have; see `trainers.graph.GraphModel`.
        training: whether the encoder runs in training mode.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` the adjacency in any form.

    Output shape:
        What the encoder gives: `(nodes, dim)` or `(batch, nodes, dim)`.

    Raises:
        TypeError: if `encoder` is not a Keras layer, or `negatives_per_edge` no integer.
        ValueError: if `negatives_per_edge` is not positive; before the first step, if the data is
            no graph, or one that has no edges or is not symmetric, the encoder pools
            nodes, or random pairs are asked for beside a dense adjacency.

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
        - [Variational Graph Auto-Encoders](https://arxiv.org/abs/1611.07308), Kipf and Welling,
          2016
    """

    def latent(self, graph: Any, training: bool) -> tuple[Any, Any, Any]:
        """Return what the encoder gives, twice, and no divergence."""
        z = self.encoder(graph, training=training)
        return z, z, None
