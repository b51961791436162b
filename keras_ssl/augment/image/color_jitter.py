"""Brightness, contrast, saturation and hue."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image.color import (
    LUMA,
    ColorAugmentation,
    ColorMap,
    chroma_projection,
    identity,
    luma_projection,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class ColorJitter(ColorAugmentation):
    r"""Random brightness, contrast, saturation and hue of each image, with a probability.

    `keras.layers.RandomColorJitter` adds brightness, clips after each step, turns hue in HSV and
    has no probability. Here the four follow torchvision's definitions (factors around 1) and are
    one 3x3 affine map per image, which can be folded with grayscale.

    With `l` the luma weights (0.299, 0.587, 0.114), `m` the mean pixel of the image and `J` a
    quarter turn of the chroma plane, which leaves the luma as it is, the four steps are

        brightness  x' = b x                                  b in [1 - brightness, 1 + brightness]
        contrast    x' = c x + (1 - c) 1 l^T m                c in [1 - contrast, 1 + contrast]
        saturation  x' = s x + (1 - s) 1 l^T x                s in [1 - saturation, 1 + saturation]
        hue         x' = 1 l^T x + (cos a (I - 1 l^T) + sin a J) x     a / 2 pi in [-hue, hue]

    all uniform. As the turn of hue keeps the luma, the four commute: every order gives

        P = b c (1 l^T + s (cos a (I - 1 l^T) + sin a J))     for deviations from the mean
        S = b (1 l^T + c s (cos a (I - 1 l^T) + sin a J))     for the mean itself

    and no order needs to be drawn. In torchvision the order matters, because values are clipped
    after each step; here they are clipped once, at the end.

    Images with other than 3 channels get brightness and contrast only, the latter around each
    channel's own mean.

    Args:
        brightness: largest distance of the factor from 1, in [0, 1].
        contrast: the same for contrast.
        saturation: the same for saturation.
        hue: largest turn of hue, as a fraction of a full turn, in [0, 0.5].
        probability: probability that an image is changed.
        value_range: `(low, high)` of the images. Brightness scales the distance from `low`.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to change them.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point, in `value_range`.

    Output shape:
        That of the input, float32, in `value_range`.

    Raises:
        ValueError: if a strength or `probability` lies outside its range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> jitter = augment.ColorJitter(0.8, 0.8, 0.8, 0.2, seed=0)
    >>> jitter(np.full((4, 8, 8, 3), 100, "uint8")).shape
    TensorShape([4, 8, 8, 3])

    Reference:
        - [Chen et al., SimCLR](https://arxiv.org/abs/2002.05709), appendix A
    """

    uniforms_per_image = 5

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        probability: float = 1.0,
        value_range: tuple[float, float] = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.brightness = checks.number("brightness", brightness, 0.0, 1.0)
        self.contrast = checks.number("contrast", contrast, 0.0, 1.0)
        self.saturation = checks.number("saturation", saturation, 0.0, 1.0)
        self.hue = checks.number("hue", hue, 0.0, 0.5)
        self.probability = checks.probability("probability", probability)
        self.value_range = checks.interval("value_range", value_range, distinct=True)

    def parameters(self, uniforms: Any, image_shape: tuple) -> dict:
        """Factors `brightness`, `contrast`, `saturation` and the turn `hue`, each `(batch,)`.

        For images that are not changed they are 1, 1, 1 and 0.
        """
        changed = ops.cast(uniforms[:, 0] < self.probability, "float32")
        centered = changed[:, None] * (2.0 * uniforms[:, 1:] - 1.0)
        return {
            "brightness": 1.0 + self.brightness * centered[:, 0],
            "contrast": 1.0 + self.contrast * centered[:, 1],
            "saturation": 1.0 + self.saturation * centered[:, 2],
            "hue": self.hue * centered[:, 3],
        }

    def color_map(self, parameters: dict, channels: int) -> ColorMap:
        """Return the four steps as one affine map."""
        b, c, s = (
            parameters[name][:, None, None] for name in ("brightness", "contrast", "saturation")
        )
        if channels == 3:
            angle = 2.0 * math.pi * parameters["hue"][:, None, None]
            luma = ops.convert_to_tensor(luma_projection(), "float32")
            chroma = s * (
                ops.cos(angle) * ops.convert_to_tensor(chroma_projection(), "float32")
                + ops.sin(angle) * ops.convert_to_tensor(_chroma_quarter_turn(), "float32")
            )
            deviation, mean = b * c * (luma + chroma), b * (luma + c * chroma)
        else:
            deviation, mean = b * c * identity(channels), b * identity(channels)
        # brightness is measured from the low end of the range
        offset = self.value_range[0] * (1.0 - b[:, :, 0])
        return ColorMap(deviation, mean, ops.tile(offset, (1, channels)))

    def finish(self, images: Any) -> Any:
        """Clip to the value range."""
        return ops.clip(images, *self.value_range)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "hue": self.hue,
            "probability": self.probability,
            "value_range": self.value_range,
        }


def _chroma_quarter_turn() -> np.ndarray:
    """Matrix `J`, which removes the luma and turns the chroma by 90 degrees, red towards green.

    The chroma plane has the I and Q coordinates of the NTSC colour space. A turn of hue by the
    angle `a` is `1 l^T + cos(a) (I - 1 l^T) + sin(a) J`, which keeps every pixel's luma.
    """
    yiq = np.array(
        [
            LUMA,
            [0.595716, -0.274453, -0.321263],
            [0.211456, -0.522591, 0.311135],
        ]
    )
    turn = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    return np.linalg.inv(yiq) @ turn @ yiq
