"""Random masking of node features."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.graph.graph_augmentation import GraphAugmentation
from keras_ssl.distribute import draw_per_example
from keras_ssl.graphs._hashed_uniform import hashed_uniform
from keras_ssl.ops.graph.inputs import GraphInputs
from keras_ssl.ops.graph.sparse import (
    coordinates,
    is_sparse,
    stored_values,
    with_values,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomFeatureMask(GraphAugmentation):
    """Set each feature to 0 with a given probability, for all nodes of a graph together.

    Unlike in dropout, the other features are not scaled. Sparse features stay sparse, with zeros
    among their stored values.

    Args:
        rate: probability of a feature to be masked, in [0, 1].
        seed: integer seed.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a, ...)` in any form and mode, see `GraphAugmentation`. Each graph of
            a batch or a disjoint union gets its own mask.
        training: whether to mask features.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        As the input.

    Raises:
        ValueError: if `rate` is outside [0, 1], or shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.augment.graph import RandomFeatureMask
    >>> x, a = RandomFeatureMask(0.5, seed=1)((np.ones((2, 6)), np.ones((2, 2))))
    >>> x.numpy().tolist()
    [[0.0, 1.0, 1.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]]

    Reference:
        - [Zhu et al., GRACE](https://arxiv.org/abs/2006.04131)
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.rate = checks.probability("rate", rate)

    def change(self, graph: GraphInputs) -> GraphInputs:
        x, features = graph.x, graph.x.shape[-1]
        if len(x.shape) == 3:
            numbers = draw_per_example(
                lambda rows: self.uniform((rows, 1, features)), ops.shape(x)[0]
            )
            return graph._replace(x=ops.where(numbers >= self.rate, x, ops.zeros_like(x)))
        of_features = self.integers((1, features))
        of_nodes = ops.zeros((1, 1), "int32") if graph.i is None else graph.i[:, None]
        if not is_sparse(x):
            keep = hashed_uniform(of_features, of_nodes) >= self.rate
            return graph._replace(x=ops.where(keep, x, ops.zeros_like(x)))
        places, values = coordinates(x), stored_values(x)
        of_features = ops.take(of_features[0], places[:, 1])
        of_nodes = of_nodes[0] if graph.i is None else ops.take(graph.i, places[:, 0])
        keep = hashed_uniform(of_features, of_nodes) >= self.rate
        kept = ops.where(keep, values, ops.zeros_like(values))
        return graph._replace(x=with_values(x, kept))

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate}
