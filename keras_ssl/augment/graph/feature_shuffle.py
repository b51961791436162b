"""Permutation of node features."""

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
    """Permute the features of the nodes within each graph, and keep the edges.

        X' = P X,    P a random permutation

    This is the corruption of Deep Graph Infomax. Padding is not moved. Sparse features stay sparse.

    Args:
        seed: integer seed.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a, ...)` in any form and mode, see `GraphAugmentation`.
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
        order = _shuffled_within(noise, graph.mask if graph.i is None else graph.i)
        if is_sparse(graph.x):
            return graph._replace(x=_take_rows_of_sparse(graph.x, order))
        return graph._replace(x=take_nodes(graph.x, order))


def _shuffled_within(noise: Any, groups: Any = None) -> Any:
    """Return int32 source indices `(..., n)` of a random permutation within groups.

    `noise` are random numbers `(..., n)`, and `groups` the integer or boolean group of each index.
    """
    by_noise = ops.argsort(noise, axis=-1)
    if groups is None:
        return by_noise
    groups = ops.cast(groups, "int32")
    # stable sorts by group: within a group in random order (`chance`), and in place (`places`)
    chance = ops.argsort(ops.take_along_axis(groups, by_noise, axis=-1), axis=-1)
    chance = ops.take_along_axis(by_noise, chance, axis=-1)
    places = ops.argsort(groups, axis=-1)
    return ops.take_along_axis(chance, ops.argsort(places, axis=-1), axis=-1)


def _take_rows_of_sparse(x: Any, order: Any) -> Any:
    places = coordinates(x)
    goes_to = ops.cast(ops.argsort(order), places.dtype)
    rows = ops.take(goes_to, places[:, 0])
    # operations on sparse tensors need sorted rows
    sort = ops.argsort(rows)
    places = ops.stack([ops.take(rows, sort), ops.take(places[:, 1], sort)], axis=1)
    return with_places(x, places, ops.take(stored_values(x), sort))
