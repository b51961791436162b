"""Solarization."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image._compiled import call_compiled
from keras_ssl.augment.image.image_augmentation import ImageAugmentation


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomSolarize(ImageAugmentation):
    """Solarization: values from a threshold on are inverted, in each image with a probability.

    `keras.layers.Solarization` draws a random threshold for every image and changes them all;
    that of BYOL and DINO has one threshold and a probability, as here.

        x' = x  where x < threshold,   low + high - x  elsewhere

    Args:
        threshold: smallest value that is inverted, or `None` for the middle of `value_range`.
        probability: probability that an image is changed.
        value_range: `(low, high)` of the images.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to change them.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point, in `value_range`.

    Output shape:
        That of the input, float32.

    Raises:
        ValueError: if `threshold` lies outside `value_range`, or `probability` outside [0, 1].

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> solarize = augment.RandomSolarize(threshold=128, probability=1.0)
    >>> solarize(np.array([100, 200], "uint8").reshape(1, 1, 2, 1)).numpy().ravel()
    array([100., 55.], dtype=float32)

    Reference:
        - [Grill et al., BYOL](https://arxiv.org/abs/2006.07733), appendix B
    """

    uniforms_per_image = 1

    def __init__(
        self,
        threshold: float | None = None,
        probability: float = 0.2,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.value_range = checks.interval("value_range", value_range, distinct=True)
        if threshold is not None:
            threshold = checks.number("threshold", threshold, *self.value_range)
        self.threshold = threshold
        self.probability = checks.probability("probability", probability)

    def parameters(self, uniforms: Any, image_shape: tuple) -> dict:
        """Thresholds of the images: `threshold`, `(batch,)`, infinite to leave an image as is."""
        low, high = self.value_range
        threshold = (low + high) / 2 if self.threshold is None else self.threshold
        solarized = uniforms[:, 0] < self.probability
        return {"threshold": ops.where(solarized, threshold, float("inf"))}

    def apply(self, images: Any, parameters: dict) -> Any:
        """Invert with given thresholds; returns float32."""

        def invert(images: Any, threshold: Any) -> Any:
            x = ops.cast(images, "float32")
            return ops.where(x < threshold, x, sum(self.value_range) - x)

        threshold = parameters["threshold"][:, None, None, None]
        return call_compiled(invert, images, threshold, image_shape=tuple(ops.shape(images)[1:]))

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "threshold": self.threshold,
            "probability": self.probability,
            "value_range": self.value_range,
        }
