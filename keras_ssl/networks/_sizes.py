"""Sizes of images that a network can halve and double again."""

from typing import Any

import keras

from keras_ssl import checks


def check_size(shape: tuple, multiple: int) -> None:
    """Raise a `ValueError` unless height and width, where known, are divisible by `multiple`.

    Args:
        shape: `(..., height, width, channels)`.
        multiple: what both must be divisible by.
    """
    size = tuple(shape[-3:-1])
    if all(n is None or (n > 0 and n % multiple == 0) for n in size):
        return
    below = tuple(n if n is None else max(n // multiple, 1) * multiple for n in size)
    above = tuple(n if n is None else -(-n // multiple) * multiple for n in size)
    nearest = " or ".join(dict.fromkeys(f"{height}x{width}" for height, width in (below, above)))
    raise ValueError(
        f"Height and width of images must be divisible by {multiple}, so that the network can "
        f"halve them and double them again. The nearest sizes that fit are {nearest}: resize, crop "
        f"or pad the images, or make the network less deep. Received: shape {tuple(shape)}"
    )


def check_image_shape(name: str, shape: Any) -> tuple[int | None, int | None, int]:
    """Check `(height, width, channels)`, of which height and width may be `None`."""
    pair = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(pair) != 3 or pair[-1] is None:
        raise ValueError(
            f"`{name}` must be (height, width, channels) with a known number of channels. "
            f"Received: {name}={shape!r}"
        )
    return tuple(checks.integer(name, n, minimum=1, optional=True) for n in pair)


def check_widths(name: str, value: Any) -> tuple[int, ...]:
    """Check the numbers of channels of the levels of a network, at least one."""
    if not isinstance(value, (tuple, list)) or not value:
        raise ValueError(
            f"`{name}` must be the channels of each level, such as (32, 64). "
            f"Received: {name}={value!r}"
        )
    return tuple(checks.integer(name, n, minimum=1) for n in value)


@keras.saving.register_keras_serializable(package="keras_ssl")
class DivisibleSize(keras.layers.Layer):
    """The identity of images whose height and width are divisible by a number.

    Args:
        multiple: the number.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.
    """

    def __init__(self, multiple: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.multiple = multiple

    def build(self, input_shape: tuple) -> None:
        self.built = True

    def call(self, images: Any) -> Any:
        check_size(images.shape, self.multiple)
        return images

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        check_size(input_shape, self.multiple)
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "multiple": self.multiple}
