"""Colour dropping."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.color import ColorAugmentation, ColorMap, identity


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomColorDrop(ColorAugmentation):
    """Colour dropping: one random channel of each image is kept and the others are set to 0.

    CPC v2 does this to patches, so that they cannot be matched by their colour or by the coloured
    fringes of lenses.

    Args:
        probability: probability that an image loses its other channels.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to change them.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point. Images with one channel do
        not change.

    Output shape:
        That of the input, float32.

    Raises:
        ValueError: if `probability` lies outside [0, 1].

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> pixels = augment.RandomColorDrop(seed=0)(np.full((4, 1, 1, 3), 9, "uint8"))
    >>> [sorted(float(value) for value in pixel) for pixel in pixels[:, 0, 0]]
    [[0.0, 0.0, 9.0], [0.0, 0.0, 9.0], [0.0, 0.0, 9.0], [0.0, 0.0, 9.0]]

    Reference:
        - [Hénaff et al., Data-Efficient Image Recognition with Contrastive Predictive
          Coding](https://arxiv.org/abs/1905.09272)
        - [Doersch et al., Unsupervised Visual Representation Learning by Context
          Prediction](https://arxiv.org/abs/1505.05192)
    """

    uniforms_per_image = 2

    def __init__(self, probability: float = 1.0, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.probability = checks.probability("probability", probability)

    def parameters(self, uniforms: Any, image_shape: tuple) -> dict:
        """Which channels are kept: `keep`, float32 `(batch, channels)`, each 0 or 1."""
        channels = image_shape[-1]
        # a uniform number just below 1 may round up to `channels`
        kept = ops.minimum(ops.cast(uniforms[:, 0] * channels, "int32"), channels - 1)
        one = ops.one_hot(kept, channels, dtype="float32")
        is_dropped = uniforms[:, 1:] < self.probability
        return {"keep": ops.where(is_dropped, one, ops.ones_like(one))}

    def color_map(self, parameters: dict, channels: int) -> ColorMap:
        """Return a diagonal matrix of the channels that are kept."""
        keep = parameters["keep"]
        matrix = keep[:, None] * identity(channels)
        return ColorMap(matrix, matrix, ops.zeros_like(keep))

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "probability": self.probability}
