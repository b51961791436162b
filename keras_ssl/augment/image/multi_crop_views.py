"""Global and local views."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.augment._view_generator import ViewGenerator
from keras_ssl.augment.image.simclr_views import simclr_pipeline


@keras.saving.register_keras_serializable(package="keras_ssl")
class MultiCropViews(ViewGenerator):
    """Two large views and several small ones of each image, as in SwAV and DINO.

    Global views show most of the image, local ones a small part of it at a lower resolution, which
    makes them cheap. Apart from the crop, each is a view like those of `SimCLRViews`. The defaults
    are DINO's, whose two global views differ in blur and solarization. For SwAV's equal views pass
    `blur_probability=(0.5, 0.5, 0.5)` and `solarize_probability=(0, 0, 0)`.

    Arguments that are not described here are those of `simclr_pipeline`.

    Args:
        global_size: height and width of the two global views; an integer, or a pair.
        local_size: the same for the local views.
        local_count: number of local views.
        global_scale: smallest and largest area of a global crop, as a fraction of the image's.
        local_scale: the same for the local views.
        blur_probability: probabilities of the blur: of the first global view, of the second, and
            of the local views.
        solarize_probability: the same for solarization.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images, in `value_range`.
        training: whether to augment; with `False` each view is the whole image, resized.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point; height and width at least the
        larger of the two sizes.

    Output shape:
        Tuple of `2 + local_count` float32 tensors: the two global views, then the local ones.

    Raises:
        ValueError: if an argument lies outside its range, or a size is larger than the images.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> views = augment.MultiCropViews(global_size=32, local_size=16, local_count=4, seed=0)
    >>> [view.shape[1] for view in views(np.zeros((8, 32, 32, 3), "uint8"))]
    [32, 32, 16, 16, 16, 16]

    Reference:
        - [Caron et al., SwAV](https://arxiv.org/abs/2006.09882)
        - [Caron et al., DINO](https://arxiv.org/abs/2104.14294)
    """

    def __init__(
        self,
        global_size: int | tuple[int, int],
        local_size: int | tuple[int, int],
        local_count: int = 6,
        global_scale: tuple[float, float] = (0.4, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.4),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        antialias: bool = True,
        flip_probability: float = 0.5,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.2,
        hue: float = 0.1,
        jitter_probability: float = 0.8,
        grayscale_probability: float = 0.2,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        blur_probability: Sequence[float] = (1.0, 0.1, 0.5),
        solarize_threshold: float | None = None,
        solarize_probability: Sequence[float] = (0.0, 0.2, 0.0),
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ):
        local_count = checks.integer("local_count", local_count, minimum=0)
        shared = {
            "ratio": ratio,
            "antialias": antialias,
            "flip_probability": flip_probability,
            "brightness": brightness,
            "contrast": contrast,
            "saturation": saturation,
            "hue": hue,
            "jitter_probability": jitter_probability,
            "grayscale_probability": grayscale_probability,
            "blur_sigma": blur_sigma,
            "solarize_threshold": solarize_threshold,
            "value_range": value_range,
        }
        own = {
            "global_size": checks.image_size("global_size", global_size),
            "local_size": checks.image_size("local_size", local_size),
            "local_count": local_count,
            "global_scale": checks.interval("global_scale", global_scale, maximum=1, positive=True),
            "local_scale": checks.interval("local_scale", local_scale, maximum=1, positive=True),
            "blur_probability": _three("blur_probability", blur_probability),
            "solarize_probability": _three("solarize_probability", solarize_probability),
        }
        crops = 2 * [(own["global_size"], own["global_scale"])]
        crops += [(own["local_size"], own["local_scale"])]
        first, second, local = (
            simclr_pipeline(
                size,
                scale,
                blur_probability=own["blur_probability"][kind],
                solarize_probability=own["solarize_probability"][kind],
                **shared,
            )
            for kind, (size, scale) in enumerate(crops)
        )
        super().__init__([first, second] + [local] * local_count, seed=seed, **kwargs)
        self.settings = {**own, **shared}

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), **self.settings}


def _three(name: str, value: Any) -> tuple[float, ...]:
    """Check three probabilities: of the first global view, the second, and the local views."""
    if not isinstance(value, tuple | list) or len(value) != 3:
        raise ValueError(
            f"`{name}` must be three probabilities, for the first global view, the second, and "
            f"the local views. Received: {name}={value!r}"
        )
    return tuple(checks.probability(name, each) for each in value)
