"""Checks of arguments and inputs, each with a message that names what was wrong."""

import numbers
from typing import Any

from keras_ssl.checks import integer, number


def probability(name: str, value: Any) -> float:
    """Return `value` as a float, or raise when it lies outside [0, 1]."""
    return number(name, value, 0.0, 1.0)


def interval(
    name: str,
    value: Any,
    minimum: float = float("-inf"),
    maximum: float = float("inf"),
    positive: bool = False,
    distinct: bool = False,
) -> tuple[float, float]:
    """Return `value` as a pair of floats `(low, high)`, or raise when it is none.

    Args:
        name: the argument's name, for the message.
        value: a list or tuple of two numbers.
        minimum: least allowed number.
        maximum: greatest allowed number.
        positive: whether the numbers must be above zero.
        distinct: whether the two may not be equal.
    """
    order = "<" if distinct else "<="
    wanted = f"two numbers (low, high) with low {order} high"
    if positive:
        wanted += " and low > 0"
    elif minimum != float("-inf"):
        wanted += f" and low >= {minimum:g}"
    if maximum != float("inf"):
        wanted += f" and high <= {maximum:g}"
    message = f"`{name}` must be {wanted}. Received: {name}={value!r}"
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(message)
    if any(isinstance(v, bool) or not isinstance(v, numbers.Real) for v in value):
        raise TypeError(message)
    low, high = float(value[0]), float(value[1])
    in_order = low < high if distinct else low <= high
    finite = abs(low) < float("inf") and abs(high) < float("inf")
    if not (in_order and finite and low >= minimum and high <= maximum):
        raise ValueError(message)
    if positive and low <= 0:
        raise ValueError(message)
    return low, high


def image_size(name: str, value: Any) -> tuple[int, int]:
    """Return `value` as `(height, width)`: an integer is both."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(
            f"`{name}` must be an integer or a pair (height, width). Received: {name}={value!r}"
        )
    return integer(name, pair[0], 1), integer(name, pair[1], 1)


def rank(layer: Any, shape: Any) -> None:
    """Raise when `shape` is not that of a batch of images."""
    shape = tuple(shape)
    if len(shape) == 4:
        return
    message = (
        f"Layer '{layer.name}' works on batches of images of shape "
        "(batch, height, width, channels). "
    )
    if len(shape) == 3:
        message += (
            "For a single image add a batch axis (`image[None]`); in `tf.data`, call `.batch()` "
            "before `.map()`. "
        )
    raise ValueError(f"{message}Received: shape {shape}")


def images(layer: Any, x: Any) -> None:
    """Raise when `x` is no batch of real-valued images."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise TypeError(
            f"Layer '{layer.name}' expects one tensor of images. Received: {type(x).__name__}"
        )
    rank(layer, x.shape)
    dtype = getattr(x.dtype, "name", str(x.dtype))
    if not dtype.startswith(("int", "uint", "float", "bfloat")):
        raise TypeError(
            f"Layer '{layer.name}' expects images of an integer or floating dtype. "
            f"Received: dtype {dtype}"
        )


def images_hold(layer: Any, size: tuple[int, int], image_shape: tuple) -> None:
    """Raise when views of `size` would be larger than the images they are cut from."""
    for wanted, there in zip(size, image_shape, strict=False):
        if isinstance(there, int) and wanted > there:
            raise ValueError(
                f"Layer '{layer.name}' makes views of size {tuple(size)}, larger than the images. "
                "Enlarge the images first, with `keras.layers.Resizing(height, width)` in the "
                "`tf.data` pipeline or before this layer, or ask for a smaller `size`. "
                f"Received: images of height and width {tuple(image_shape[:2])}"
            )
