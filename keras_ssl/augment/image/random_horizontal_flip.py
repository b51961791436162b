"""Left-right flip."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.geometry import AxisMaps, GeometricAugmentation, Resampling


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomHorizontalFlip(GeometricAugmentation):
    """Left-right flip of each image with a probability.

    Unlike `keras.layers.RandomFlip("horizontal")`, it has a `probability`, is folded into the
    matrices of a crop (so it needs no pass over the images), and draws the same on any number of
    replicas.

    Args:
        probability: probability that an image is flipped.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to flip.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point.

    Output shape:
        That of the input, float32.

    Raises:
        ValueError: if `probability` lies outside [0, 1].

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> flip = augment.RandomHorizontalFlip(probability=1.0)
    >>> flip(np.array([1, 2, 3], "uint8").reshape(1, 1, 3, 1)).numpy().ravel()
    array([3., 2., 1.], dtype=float32)
    """

    uniforms_per_image = 1

    def __init__(self, probability: float = 0.5, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.probability = checks.probability("probability", probability)

    def parameters(self, uniforms: Any, image_shape: tuple) -> dict:
        """Which images to flip: `flip`, boolean `(batch,)`."""
        return {"flip": uniforms[:, 0] < self.probability}

    def fold(self, maps: AxisMaps, parameters: dict, image_shape: tuple) -> AxisMaps:
        """Reverse the output columns of the operations before."""
        columns, flip = maps.columns, parameters["flip"]
        if isinstance(columns, Resampling):
            return AxisMaps(maps.rows, columns.mirrored(flip))
        if columns is None:
            columns = ops.eye(image_shape[1], dtype="float32")[None]
        columns = ops.where(flip[:, None, None], ops.flip(columns, axis=1), columns)
        return AxisMaps(maps.rows, columns)

    def apply(self, images: Any, parameters: dict) -> Any:
        """Flip given images, without arithmetic and so exactly."""
        x = ops.cast(images, "float32")
        return ops.where(parameters["flip"][:, None, None, None], ops.flip(x, axis=2), x)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "probability": self.probability}
