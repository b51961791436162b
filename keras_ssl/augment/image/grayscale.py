"""Grayscale."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.color import (
    ColorAugmentation,
    ColorMap,
    chroma_projection,
    luma_projection,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class Grayscale(ColorAugmentation):
    """Grayscale with three equal channels, for each image with a probability.

    Unlike `keras.layers.RandomGrayscale`, it is an affine map of colour that can be folded with
    `ColorJitter`, and draws the same on any number of replicas.

    Args:
        probability: probability that an image loses its colour.
        strict: whether images with other than 3 channels are an error; with `False` they stay as
            they are.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to change them.

    Input shape:
        `(batch, height, width, 3)`, integer or floating-point.

    Output shape:
        That of the input, float32: three equal channels.

    Raises:
        ValueError: if `probability` lies outside [0, 1], or the images do not have 3 channels.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> gray = augment.Grayscale(probability=1.0)
    >>> gray(np.array([100, 0, 0], "uint8").reshape(1, 1, 1, 3)).numpy().ravel().round(1)
    array([29.9, 29.9, 29.9], dtype=float32)
    """

    uniforms_per_image = 1

    def __init__(
        self,
        probability: float = 0.2,
        strict: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.probability = checks.probability("probability", probability)
        self.strict = bool(strict)

    def parameters(self, uniforms: Any, image_shape: tuple) -> dict:
        """Which images keep their colour: `chroma`, float32 `(batch,)`, 0 or 1."""
        self._check_channels(image_shape[-1])
        return {"chroma": ops.cast(uniforms[:, 0] >= self.probability, "float32")}

    def color_map(self, parameters: dict, channels: int) -> ColorMap:
        """Return the map to luma, and to chroma where it stays."""
        self._check_channels(channels)
        chroma = parameters["chroma"][:, None, None]
        if channels == 3:
            matrix = ops.convert_to_tensor(luma_projection(), "float32")
            matrix = matrix + chroma * ops.convert_to_tensor(chroma_projection(), "float32")
        else:
            matrix = ops.ones_like(chroma) * ops.eye(channels, dtype="float32")
        return ColorMap(matrix, matrix, ops.zeros_like(matrix[:, 0]))

    def _check_channels(self, channels: Any) -> None:
        if self.strict and channels != 3:
            raise ValueError(
                f"Layer '{self.name}' expects images with 3 channels (red, green, blue); with "
                f"`strict=False` others stay as they are. Received: {channels} channels"
            )

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "probability": self.probability,
            "strict": self.strict,
        }
