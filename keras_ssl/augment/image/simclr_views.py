"""SimCLR's views, and the pipeline that BYOL, SwAV and DINO share up to its settings."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.augment._view_generator import ViewGenerator
from keras_ssl.augment.image.color_jitter import ColorJitter
from keras_ssl.augment.image.fused_pipeline import FusedPipeline
from keras_ssl.augment.image.gaussian_blur import GaussianBlur
from keras_ssl.augment.image.grayscale import Grayscale
from keras_ssl.augment.image.random_horizontal_flip import RandomHorizontalFlip
from keras_ssl.augment.image.random_resized_crop import RandomResizedCrop
from keras_ssl.augment.image.random_solarize import RandomSolarize


def simclr_pipeline(
    size: int | tuple[int, int],
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    antialias: bool = True,
    flip_probability: float = 0.5,
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
) -> FusedPipeline:
    """Make a pipeline of SimCLR's kind: crop, flip, blur, colour jitter, grayscale, solarization.

    Operations of probability 0 are left out. Images with other than 3 channels go without
    saturation, hue and grayscale.

    Args:
        size: height and width of the view; an integer, or a pair.
        scale: smallest and largest area of a crop, as a fraction of the image's.
        ratio: smallest and largest aspect ratio (width / height) of a crop.
        antialias: whether to smooth where a crop is larger than `size`.
        flip_probability: probability of a left-right flip.
        brightness: largest distance of the brightness factor from 1.
        contrast: the same for contrast.
        saturation: the same for saturation.
        hue: largest turn of hue, as a fraction of a full turn.
        jitter_probability: probability that these four are applied.
        grayscale_probability: probability that colour is removed.
        blur_sigma: smallest and largest standard deviation of the blur, in pixels of the view.
        blur_probability: probability of the blur.
        solarize_threshold: smallest value that solarization inverts, or `None` for the middle of
            `value_range`.
        solarize_probability: probability of solarization.
        value_range: `(low, high)` of the images; the view has the same.

    Returns:
        A `FusedPipeline`, for `Views` and `AsymmetricViews`.

    Example:

    >>> from keras_ssl import augment
    >>> byol = augment.AsymmetricViews(
    ...     [
    ...         augment.simclr_pipeline(32, blur_probability=1.0),
    ...         augment.simclr_pipeline(32, blur_probability=0.1, solarize_probability=0.2),
    ...     ]
    ... )
    """
    probabilities = {
        "flip_probability": flip_probability,
        "jitter_probability": jitter_probability,
        "grayscale_probability": grayscale_probability,
        "blur_probability": blur_probability,
        "solarize_probability": solarize_probability,
    }
    for name, value in probabilities.items():
        checks.probability(name, value)
    layers = [
        RandomResizedCrop(size, scale=scale, ratio=ratio, antialias=antialias),
        RandomHorizontalFlip(flip_probability),
        GaussianBlur(blur_sigma, blur_probability),
        ColorJitter(brightness, contrast, saturation, hue, jitter_probability, value_range),
        Grayscale(grayscale_probability, strict=False),
        RandomSolarize(solarize_threshold, solarize_probability, value_range),
    ]
    return FusedPipeline([layer for layer in layers if getattr(layer, "probability", 1.0) > 0])


@keras.saving.register_keras_serializable(package="keras_ssl")
class SimCLRViews(ViewGenerator):
    """SimCLR's random views of each image.

    A view is the image cropped and resized, flipped, blurred, changed in brightness, contrast,
    saturation and hue, turned to grayscale and, if asked for, solarized, each with its
    probability, in this order, and clipped to `value_range` once, at the end. All of it is a few
    matrix products for the whole batch (see `FusedPipeline`).

    The defaults are those of the paper for ImageNet (`strength=1`). For CIFAR-10 it halves the
    colour jitter and does not blur: `SimCLRViews(32, strength=0.5, blur_probability=0.0)`.

    Arguments that are not described here are those of `simclr_pipeline`.

    Args:
        size: height and width of a view; an integer, or a pair.
        count: views per image.
        strength: factor for `brightness`, `contrast`, `saturation` and `hue`.
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
