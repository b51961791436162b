"""The range of values in which denoisers see data: from -1 to 1."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.ops import at_least_float32

Range = tuple[float, float] | None


def check_range(value: Any) -> Range:
    """Check the argument `value_range` of a trainer."""
    return None if value is None else checks.interval("value_range", value, distinct=True)


def scaled(x: Any, value_range: Range) -> Any:
    """Return data as floats, from -1 to 1 if their range is known."""
    x = at_least_float32(x)
    if value_range is None:
        return x
    low, high = value_range
    return (x - low) * (2 / (high - low)) - 1


def unscaled(x: Any, value_range: Range, clip: bool = True) -> Any:
    """Return what `scaled` was made from, clipped to the range."""
    if value_range is None:
        return x
    low, high = value_range
    x = (x + 1) * ((high - low) / 2) + low
    return ops.clip(x, low, high) if clip else x


def check_in_range(x: Any, value_range: Range, name: str, fills: bool = False) -> None:
    """Raise a `ValueError` if values are not finite or lie outside of the range.

    Args:
        x: array or tensor; all of its values are looked at.
        value_range: the range, or `None`.
        name: how the message calls `x`.
        fills: whether the values should also fill more than a small part of the range, as those of
            a data set do.
    """
    if isinstance(x, keras.KerasTensor) or 0 in x.shape:
        return
    x = np.asarray(x)
    least, largest = float(np.min(x)), float(np.max(x))
    if not (np.isfinite(least) and np.isfinite(largest)):
        raise ValueError(
            f"Expected {name} with finite values. Received: values from {least} to {largest}"
        )
    if value_range is None:
        if x.dtype == np.uint8:
            raise ValueError(
                f"`value_range` must say what the values of {name} are between: images of dtype "
                "uint8 are trained on with value_range=(0, 255). Received: value_range=None"
            )
        return
    low, high = value_range
    margin = 1e-3 * (high - low)  # of rounding and resizing
    if not (low - margin <= least and largest <= high + margin):
        advice = "Rescale them, or state their range as `value_range`"
    elif fills and least < largest and largest - low <= 0.02 * (high - low):
        advice = "They fill a small part of it alone: state their range as `value_range`"
    else:
        return
    raise ValueError(
        f"Expected {name} with values in value_range=({low:g}, {high:g}). {advice}; None leaves "
        f"values as they are. Received: values from {least:.4g} to {largest:.4g}"
    )
