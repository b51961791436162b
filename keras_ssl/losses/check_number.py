"""What losses ask of the numbers in their formulas."""

import math
import numbers
from typing import Any


def check_positive_number(value: Any, name: str) -> None:
    """Raise unless `value` is a finite number above 0.

    Args:
        value: a Python or NumPy number.
        name: what the caller calls it.

    Raises:
        TypeError: if `value` is not a number: a string, a bool, an array.
        ValueError: if it is not finite and above 0.

    Example:

    >>> from keras_ssl.losses.check_number import check_positive_number
    >>> check_positive_number(0.1, "temperature")
    """
    _check_number(value, name, "a positive number")
    # NaN is above nothing
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"`{name}` must be a positive number. Received: {name}={value}")


def check_weight(value: Any, name: str) -> None:
    """Raise unless `value` is a finite number of at least 0.

    Args:
        value: what a term of a loss is multiplied by, a Python or NumPy number.
        name: what the caller calls it.

    Raises:
        TypeError: if `value` is not a number: a string, a bool, an array.
        ValueError: if it is negative or not finite.

    Example:

    >>> from keras_ssl.losses.check_number import check_weight
    >>> check_weight(0.0, "covariance_weight")
    """
    _check_number(value, name, "a number of at least 0")
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(
            f"`{name}` must be a finite number of at least 0. Received: {name}={value}"
        )


def _check_number(value: Any, name: str, expected: str) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be {expected}. "
            f"Received: {name}={value!r} of type {type(value).__name__}"
        )
