"""Random removal of edges."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.graph.graph_augmentation import GraphAugmentation
from keras_ssl.graphs._hashed_uniform import hashed_uniform
from keras_ssl.ops.graph.edges import connect, keep_edges, spec_of_kept_edges
from keras_ssl.ops.graph.inputs import GraphInputs


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomEdgeDrop(GraphAugmentation):
    """Drop each edge with a given probability; the others keep their weights.

    By default both directions of an undirected edge are dropped together. GRACE's own code drops
    them independently (`symmetric=False`), at the same rate.

    Use the plain adjacency, and normalize it afterwards (`GCNConv(normalize=True)`). Self-loops
    stored in it are dropped like other edges.

    Args:
        rate: probability of an edge to be dropped, in [0, 1].
        symmetric: whether an edge and its reverse are dropped together.
        seed: integer seed.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a, ...)` in any form and mode, see `GraphAugmentation`.
        training: whether to drop edges.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        As the input. Dropped edges have weight 0; an edge list without weights gets weights.

    Raises:
        ValueError: if `rate` is outside [0, 1], or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.augment.graph import RandomEdgeDrop
    >>> path = {"senders": np.array([0, 1, 1, 2]), "receivers": np.array([1, 0, 2, 1])}
    >>> x, a = RandomEdgeDrop(0.5, seed=0)((np.ones((3, 2)), path))
    >>> a["weights"].numpy().tolist()
    [1.0, 1.0, 0.0, 0.0]

    Reference:
        - [Rong et al., DropEdge](https://arxiv.org/abs/1907.10903)
        - [Zhu et al., GRACE](https://arxiv.org/abs/2006.04131)
    """

    def __init__(self, rate: float, symmetric: bool = True, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.rate = checks.probability("rate", rate)
        self.symmetric = bool(symmetric)

    def change(self, graph: GraphInputs) -> GraphInputs:
        edges = connect(graph.x, graph.a)
        # The random number of an edge is a hash of random numbers of its nodes: the same for all
        # forms of the adjacency, whatever the order of the edges, and on request for its reverse.
        if not isinstance(graph.a, dict) and len(graph.a.shape) == 3:
            ends = self.draw_for_nodes(self.integers, graph)
        else:  # one graph, possibly with a batch of features
            ends = self.integers((ops.shape(graph.x)[-2], 1))
        ends = ops.cast(ends, "uint32")
        sender, receiver = edges.from_senders(ends), edges.from_receivers(ends)
        if self.symmetric:
            number = hashed_uniform(sender + receiver, 0)
        else:
            number = hashed_uniform(receiver, sender)
        return graph._replace(a=keep_edges(graph.a, edges.weights, number >= self.rate))

    def changed_spec(self, graph: GraphInputs) -> GraphInputs:
        return graph._replace(a=spec_of_kept_edges(graph.a))

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate, "symmetric": self.symmetric}
