"""Gaussian blur."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.geometry import AxisMaps, GeometricAugmentation


@keras.saving.register_keras_serializable(package="keras_ssl")
class GaussianBlur(GeometricAugmentation):
    """Gaussian blur of random width, for each image with a probability.

    `keras.layers.RandomGaussianBlur` draws one width for the whole batch, of at most 1, and has a
    kernel of fixed size. Here each image has its own width, without limit, and the kernel is as
    long as the image: a matrix for the rows and one for the columns, which can be folded with
    those of a crop. At the border the kernel is renormalised, see `gaussian_matrix`.

    Args:
        sigma: smallest and largest standard deviation of the Gaussian, in pixels of the image that
            reaches this layer; uniform between them.
        probability: probability that an image is blurred.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to blur.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point.

    Output shape:
        That of the input, float32.

    Raises:
        ValueError: if `sigma` is not a range of positive numbers, or `probability` lies outside
            [0, 1].

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> blur = augment.GaussianBlur(sigma=(0.1, 2.0), probability=1.0, seed=0)
    >>> bool(np.allclose(blur(np.full((2, 8, 8, 3), 7.0)), 7.0))
    True

    Reference:
        - [Chen et al., SimCLR](https://arxiv.org/abs/2002.05709), appendix A
    """

    uniforms_per_image = 2

    def __init__(
        self,
        sigma: tuple[float, float] = (0.1, 2.0),
        probability: float = 0.5,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.sigma = checks.interval("sigma", sigma, positive=True)
        self.probability = checks.probability("probability", probability)

    def parameters(self, uniforms: Any, image_shape: tuple) -> dict:
        """Widths `sigma`, float32 `(batch,)`, 0 for images that are not blurred."""
        low, high = self.sigma
        drawn = low + (high - low) * uniforms[:, 1]
        return {"sigma": ops.where(uniforms[:, 0] < self.probability, drawn, 0.0)}

    def fold(self, maps: AxisMaps, parameters: dict, image_shape: tuple) -> AxisMaps:
        """Append the blur to the maps of the operations before it."""
        height, width = image_shape[:2]
        rows = gaussian_matrix(parameters["sigma"], height)
        same = isinstance(height, int) and height == width
        return maps.then(rows, rows if same else gaussian_matrix(parameters["sigma"], width))

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "sigma": self.sigma,
            "probability": self.probability,
        }


def gaussian_matrix(sigma: Any, size: Any) -> Any:
    """Matrices that blur an axis with a Gaussian.

    Output `j` weighs pixel `i` by `exp(-(i - j)^2 / (2 sigma^2))`, divided by the sum over the
    pixels that exist: the kernel is as long as the axis, and renormalised at the border.

    Args:
        sigma: float32 tensor `(batch,)`, in pixels; zero leaves the axis as it is.
        size: pixels along the axis.

    Returns:
        float32 tensor `(batch, size, size)`; rows sum to one.
    """
    # at sigma = 0 the neighbours' weights must be zero without dividing by it
    precision = 0.5 / ops.maximum(sigma, 0.01) ** 2
    pixels = ops.arange(size, dtype="float32")
    squares = (pixels[:, None] - pixels) ** 2
    weights = ops.exp(-precision[:, None, None] * squares)
    return weights / ops.sum(weights, axis=-1, keepdims=True)
