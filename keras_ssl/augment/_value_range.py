"""Warnings of images whose values do not fit the `value_range` of the layers that change them."""

import warnings
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

# Of Keras' layers that do not change values, those that often come first
_KEEPS_RANGE = (
    keras.layers.CenterCrop,
    keras.layers.Identity,
    keras.layers.RandomCrop,
    keras.layers.RandomFlip,
    keras.layers.RandomRotation,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
    keras.layers.Resizing,
)


def ranges_of(layer: Any, inputs: Any) -> list[tuple[Any, tuple[float, float]]]:
    """The tensors of `inputs` for which a layer expects a range of values, with that range."""
    if hasattr(layer, "value_ranges"):
        return layer.value_ranges(inputs)
    value_range = getattr(layer, "value_range", None)
    is_range = isinstance(value_range, (tuple, list)) and len(value_range) == 2
    return [(inputs, tuple(value_range))] if is_range and hasattr(inputs, "dtype") else []


def ranges_of_chain(layers: Iterable[Any], inputs: Any) -> list[tuple[Any, tuple[float, float]]]:
    """The same for layers applied one after another, up to the first that may change the range."""
    found = {}
    for layer in layers:
        for tensor, value_range in ranges_of(layer, inputs):
            found.setdefault(id(tensor), (tensor, value_range))
        if not keeps_range(layer):
            break
    return list(found.values())


def keeps_range(layer: Any) -> bool:
    """Whether the values behind a layer have the range of those before it."""
    return isinstance(layer, _KEEPS_RANGE) or getattr(layer, "keeps_range", False)


def warn_of_values(layer: Any, inputs: Any, name: str) -> None:
    """Warn if images do not fit the range of values that a layer expects.

    Symbolic tensors have no values: for them, the dtype alone can tell.

    Args:
        layer: augmentation layer.
        inputs: what it gets, a structure of tensors or arrays.
        name: how the message calls the inputs.
    """
    messages = set()
    for images, value_range in ranges_of(layer, inputs):
        if not hasattr(images, "dtype"):
            continue  # which the layer refuses
        values = _concrete(images)
        problem = _of_dtype(images, value_range) if values is None else _of(values, value_range)
        if problem is not None:
            messages.add(
                f"`{name}` {problem}, and `{layer.name}` expects images in value_range="
                f"({value_range[0]:g}, {value_range[1]:g}): views would be clipped to it, or have "
                "no contrast. Pass the range of your images as `value_range` to the augmentation, "
                "such as (0, 65535) for images of 16 bits, and use an encoder that takes that "
                "scale (in `networks`, `include_rescaling=False` after a "
                "`keras.layers.Rescaling`); or rescale the images to that range before."
            )
    for message in sorted(messages):
        warnings.warn(message, stacklevel=4)


def _concrete(images: Any) -> np.ndarray | None:
    """The values of a tensor or array, of some rows of a large one; `None` in a graph."""
    if isinstance(images, keras.KerasTensor):
        return None
    try:
        rows = images.shape[0]
        if rows is None or not rows:
            return None
        if isinstance(images, np.ndarray):  # which may be large
            return np.asarray(images[:: -(-rows // 64)])
        return np.asarray(keras.ops.convert_to_numpy(images))
    except Exception:  # a symbolic or ragged tensor, of any backend
        return None


def _of_dtype(images: Any, value_range: tuple[float, float]) -> str | None:
    """What is wrong with images of a dtype, or `None`."""
    dtype = keras.backend.standardize_dtype(images.dtype)
    if dtype in ("uint16", "int16") and value_range[1] <= 255:
        return f"holds images of dtype {dtype}, whose values may be as large as {_largest(dtype)}"
    return None


def _largest(dtype: str) -> int:
    return int(np.iinfo(dtype).max)


def _of(values: np.ndarray, value_range: tuple[float, float]) -> str | None:
    """What is wrong with the values of images, or `None`.

    A few values slightly outside are no problem: resizing with a bicubic filter overshoots.
    """
    if values.dtype.kind not in "iuf" and values.dtype.name != "bfloat16":
        return None
    values = values.astype("float32")
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = value_range
    span, least, largest = high - low, float(values.min()), float(values.max())
    outside = float(np.mean((values < low) | (values > high)))
    is_far = least < low - 0.1 * span or largest > high + 0.1 * span
    if outside > 0.1 or (outside > 0.01 and is_far):
        share = f"{outside:.0%}" if outside < 0.995 else "nearly all" if outside < 1 else "all"
        return f"has {share} of its values outside, from {least:.4g} to {largest:.4g}"
    if least < largest and largest - low <= 0.02 * span:
        return f"holds values of at most {largest:.4g}, a small part of the range"
    return None
