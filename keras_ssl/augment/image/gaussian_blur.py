"""The Gaussian blur."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.geometry import AxisMaps, GeometricAugmentation, gaussian_matrix


@keras.saving.register_keras_serializable(package="keras_ssl")
class GaussianBlur(GeometricAugmentation):
    """Blur each image with a Gaussian of its own width, with a probability.

    `keras.layers.RandomGaussianBlur` draws one width for the whole batch, of at most 1, and a
    kernel of a fixed size. Here each image has its own, of any width, and the kernel is as long
    as the image: a matrix for the rows and one for the columns, which fold with a crop's.

    At the border the kernel is renormalised over the pixels that exist, see `gaussian_matrix`.

    Args:
        sigma: least and greatest standard deviation of the Gaussian, in pixels of the image that
            reaches this layer; uniform between them.
        probability: of each image being blurred.
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
        ValueError: if `sigma` is no range above zero, or `probability` lies outside [0, 1].

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
        """The widths: `sigma`, float32 `(batch,)`, zero where an image is not blurred."""
        low, high = self.sigma
        drawn = low + (high - low) * uniforms[:, 1]
        return {"sigma": ops.where(uniforms[:, 0] < self.probability, drawn, 0.0)}

    def fold(self, maps: AxisMaps, parameters: dict, image_shape: tuple) -> AxisMaps:
        """Put the blur behind the maps of the operations before it."""
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
