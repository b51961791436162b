"""What every softmax with a temperature asks of it."""

import math
import numbers


def check_temperature(temperature: float) -> None:
    """Raise unless `temperature` is a finite number above 0.

    Args:
        temperature: what similarities are divided by, a Python or NumPy number.

    Raises:
        TypeError: if `temperature` is not a number: a string, a bool, an array.
        ValueError: if it is not finite and above 0.

    Example:

    >>> from keras_ssl.losses.check_temperature import check_temperature
    >>> check_temperature(0.1)
    """
    if isinstance(temperature, bool) or not isinstance(temperature, numbers.Real):
        raise TypeError(
            "`temperature` must be a positive number. "
            f"Received: temperature={temperature!r} of type {type(temperature).__name__}"
        )
    # NaN is above nothing
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(
            f"`temperature` must be a positive number. Received: temperature={temperature}"
        )
