"""What memories of embeddings hold before they hold any."""

from typing import Any

import keras

from keras_ssl.ops import l2_normalize


class RandomDirections(keras.initializers.RandomNormal):
    """Initializer: rows of length 1 whose directions are uniformly distributed.

    Args:
        seed: integer seed. `None` draws one when the initializer is made.

    Example:

    >>> import keras
    >>> from keras_ssl.layers.memory._random_directions import RandomDirections
    >>> rows = RandomDirections(seed=0)((4, 3))
    >>> [round(float(keras.ops.norm(row)), 3) for row in rows]
    [1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, seed: int | None = None):
        super().__init__(stddev=1.0, seed=seed)

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """Draw the rows."""
        return l2_normalize(super().__call__(shape, dtype))
