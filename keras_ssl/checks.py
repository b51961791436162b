"""Checks of the numbers that constructors take, each with a message that names what was wrong.

NumPy's numbers are numbers; a bool is none.
"""

import numbers
from typing import Any

INFINITY = float("inf")


def integer(name: str, value: Any, minimum: int | None = None) -> int:
    """Return an integer argument as Python's `int`.

    Args:
        name: what the caller calls it.
        value: what it got.
        minimum: the least allowed, or `None`.

    Returns:
        The integer.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it is below `minimum`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import checks
    >>> checks.integer("width", np.int64(128), 1)
    128
    """
    wanted = "an integer" if minimum is None else f"an integer of at least {minimum}"
    message = f"`{name}` must be {wanted}. Received: {name}={value!r}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{message} of type {type(value).__name__}")
    if minimum is not None and value < minimum:
        raise ValueError(message)
    return int(value)


def number(name: str, value: Any, minimum: float = -INFINITY, maximum: float = INFINITY) -> float:
    """Return a number argument as Python's `float`.

    Args:
        name: what the caller calls it.
        value: what it got.
        minimum: the least allowed.
        maximum: the greatest allowed.

    Returns:
        The number, finite.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is NaN, infinite or out of the range.

    Example:

    >>> from keras_ssl import checks
    >>> checks.number("hue", 0, 0.0, 0.5)
    0.0
    """
    wanted = "a number"
    if maximum != INFINITY:
        wanted += f" from {minimum:g} to {maximum:g}"
    elif minimum != -INFINITY:
        wanted += f" of at least {minimum:g}"
    _check_real(name, value, wanted)
    # written so that NaN fails as well
    if not (minimum <= value <= maximum) or abs(value) == INFINITY:
        raise ValueError(f"`{name}` must be {wanted}. Received: {name}={value!r}")
    return float(value)


def below_one(name: str, value: Any) -> float:
    """Return a momentum, a rate of dropout or the like, which may not be 1.

    Args:
        name: what the caller calls it.
        value: what it got.

    Returns:
        The number, as Python's `float`.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is outside [0, 1).

    Example:

    >>> from keras_ssl import checks
    >>> checks.below_one("momentum", 0.9)
    0.9
    """
    wanted = "a number in [0, 1)"
    _check_real(name, value, wanted)
    if not 0 <= value < 1:
        raise ValueError(f"`{name}` must be {wanted}. Received: {name}={value!r}")
    return float(value)


def _check_real(name: str, value: Any, wanted: str) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"`{name}` must be {wanted}. Received: {name}={value!r} of type {type(value).__name__}"
        )
