"""Graphs whose nodes have each other's features."""

from typing import Any

import keras
from keras import ops

from keras_ssl.augment.graph.graph_augmentation import GraphAugmentation
from keras_ssl.ops.graph.inputs import GraphInputs, take_nodes
from keras_ssl.ops.graph.sparse import (
    coordinates,
    is_sparse,
    stored_values,
    with_places,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class FeatureShuffle(GraphAugmentation):
    """Give nodes each other's features, within each graph, and keep the edges.

        X' = P X,    P a random permutation

    Deep Graph Infomax tells nodes of the graph from those of such a corrupted one. Padding stays
    padding. Sparse features stay sparse.

    Args:
        seed: integer seed.
        **kwargs: `name` and the like of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a)` in any form and mode, and what may follow; see `GraphViews`.
        training: whether to shuffle.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        As the input.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.augment.graph import FeatureShuffle
    >>> x, a = FeatureShuffle(seed=0)((np.arange(4.0)[:, None], np.ones((4, 4))))
    >>> sorted(x.numpy().ravel().tolist())
    [0.0, 1.0, 2.0, 3.0]

    Reference:
        - [Veličković et al., Deep Graph Infomax](https://arxiv.org/abs/1809.10341), section 4.2
    """

    def change(self, graph: GraphInputs) -> GraphInputs:
        noise = self.draw_for_nodes(self.uniform, graph)[..., 0]
        order = shuffled_within(noise, graph.mask if graph.i is None else graph.i)
        if is_sparse(graph.x):
            return graph._replace(x=_take_rows_of_sparse(graph.x, order))
        return graph._replace(x=take_nodes(graph.x, order))


def shuffled_within(noise: Any, groups: Any = None) -> Any:
    """Return a random order of the last axis that keeps every place within its group.

    Args:
        noise: random numbers `(..., n)`.
        groups: the group of each place, integers or booleans of the same shape, in any order;
            `None` for one group.

    Returns:
        int32 `(..., n)`: the place that what comes to each place is taken from.
    """
    by_noise = ops.argsort(noise, axis=-1)
    if groups is None:
        return by_noise
    groups = ops.cast(groups, "int32")
    # sorts keep the order of equals: by group, and within one by chance, or as they were
    chance = ops.argsort(ops.take_along_axis(groups, by_noise, axis=-1), axis=-1)
    chance = ops.take_along_axis(by_noise, chance, axis=-1)
    places = ops.argsort(groups, axis=-1)
    return ops.take_along_axis(chance, ops.argsort(places, axis=-1), axis=-1)


def _take_rows_of_sparse(x: Any, order: Any) -> Any:
    places = coordinates(x)
    goes_to = ops.cast(ops.argsort(order), places.dtype)
    rows = ops.take(goes_to, places[:, 0])
    # rows in order again, as operations on sparse tensors want them
    sort = ops.argsort(rows)
    places = ops.stack([ops.take(rows, sort), ops.take(places[:, 1], sort)], axis=1)
    return with_places(x, places, ops.take(stored_values(x), sort))
