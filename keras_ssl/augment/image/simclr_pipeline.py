"""The chain of operations that SimCLR, BYOL, SwAV and DINO share, up to its settings."""

from keras_ssl import checks
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
    """Crop, flip, blur, jitter, grayscale, solarise: one view of SimCLR's kind.

    Operations of probability zero are left out. Images of other than 3 channels go without what
    needs colour.

    Args:
        size: height and width of the view; an integer, or a pair.
        scale: least and greatest area of a crop, as a part of the image's.
        ratio: least and greatest aspect ratio (width / height) of a crop.
        antialias: whether to smooth where a crop is larger than `size`.
        flip_probability: of a left-right flip.
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
        solarize_probability: of solarisation.
        value_range: `(low, high)` of the images; the view has the same.

    Returns:
        The pipeline, for `Views` and `AsymmetricViews`.

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
