"""SimCLR's views."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.augment._view_generator import ViewGenerator
from keras_ssl.augment.image.simclr_pipeline import simclr_pipeline


@keras.saving.register_keras_serializable(package="keras_ssl")
class SimCLRViews(ViewGenerator):
    """Make random views of each image of a batch, as SimCLR does.

    A view is the image cropped and resized, flipped, blurred, changed in brightness, contrast,
    saturation and hue, made grey and, where asked for, solarised, each with its probability, in
    this order, and clipped to `value_range` once, at the end. All of it is a few matrix products
    for the whole batch (see `FusedPipeline`), so it runs where the network runs.

    The defaults are those of the paper for ImageNet (`strength=1`). For CIFAR-10 it halves the
    jitter and does not blur: `SimCLRViews(32, strength=0.5, blur_probability=0.0)`.

    Images of other than 3 channels get all but saturation, hue and grayscale.

    Args:
        size: height and width of a view; an integer, or a pair.
        count: views an image.
        scale: least and greatest area of a crop, as a part of the image's.
        ratio: least and greatest aspect ratio (width / height) of a crop.
        antialias: whether to smooth where a crop is larger than `size`.
        flip_probability: of a left-right flip.
        strength: multiplies the next four.
        brightness: how far the factor of brightness may lie from 1.
        contrast: the same for contrast.
        saturation: the same for saturation.
        hue: largest turn of hue, in whole turns.
        jitter_probability: of these four together.
        grayscale_probability: of losing the colour.
        blur_sigma: least and greatest standard deviation of the blur, in pixels of the view.
        blur_probability: of the blur.
        solarize_threshold: least value that solarisation inverts, or `None` for the middle of
            `value_range`.
        solarize_probability: of solarisation. SimCLR has none; BYOL's second view has 0.2.
        value_range: `(low, high)` of the images; the views have the same.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images, in `value_range`.
        training: whether to augment; with `False` each view is the whole image, resized.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point, with height and width of at
        least `size`.

    Output shape:
        Tuple of `count` tensors `(batch, size, size, channels)`, float32.

    Raises:
        ValueError: if an argument lies outside its range, or `size` is larger than the images.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> views = augment.SimCLRViews(32, seed=0)
    >>> first, second = views(np.zeros((8, 32, 32, 3), "uint8"))
    >>> first.shape
    TensorShape([8, 32, 32, 3])

    Reference:
        - [Chen et al., A simple framework for contrastive learning of visual
          representations](https://arxiv.org/abs/2002.05709), appendix A
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        count: int = 2,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        antialias: bool = True,
        flip_probability: float = 0.5,
        strength: float = 1.0,
        brightness: float = 0.8,
        contrast: float = 0.8,
        saturation: float = 0.8,
        hue: float = 0.2,
        jitter_probability: float = 0.8,
        grayscale_probability: float = 0.2,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        blur_probability: float = 0.5,
        solarize_threshold: float | None = None,
        solarize_probability: float = 0.0,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ):
        strength = checks.number("strength", strength, 0.0)
        settings = {
            "scale": scale,
            "ratio": ratio,
            "antialias": antialias,
            "flip_probability": flip_probability,
            "brightness": checks.number("brightness", brightness, 0.0),
            "contrast": checks.number("contrast", contrast, 0.0),
            "saturation": checks.number("saturation", saturation, 0.0),
            "hue": checks.number("hue", hue, 0.0),
            "jitter_probability": jitter_probability,
            "grayscale_probability": grayscale_probability,
            "blur_sigma": blur_sigma,
            "blur_probability": blur_probability,
            "solarize_threshold": solarize_threshold,
            "solarize_probability": solarize_probability,
            "value_range": value_range,
        }
        jitter = {
            name: strength * settings[name]
            for name in ("brightness", "contrast", "saturation", "hue")
        }
        pipeline = simclr_pipeline(size, **{**settings, **jitter})
        count = checks.integer("count", count, minimum=1)
        super().__init__([pipeline] * count, seed=seed, **kwargs)
        self.size = checks.image_size("size", size)
        self.count = count
        self.strength = strength
        self.settings = settings

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        own = {"size": self.size, "count": self.count, "strength": self.strength}
        return {**super().get_config(), **own, **self.settings}
