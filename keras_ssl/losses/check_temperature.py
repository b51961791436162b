"""What every softmax with a temperature asks of it."""

from typing import Any

import keras
from keras import ops

from keras_ssl.losses.check_number import check_positive_number


def check_temperature(temperature: float, name: str = "temperature") -> None:
    """Raise unless `temperature` is a finite number above 0.

    Args:
        temperature: what similarities are divided by, a Python or NumPy number.
        name: what the caller calls it.

    Raises:
        TypeError: if `temperature` is not a number: a string, a bool, an array.
        ValueError: if it is not finite and above 0.

    Example:

    >>> from keras_ssl.losses.check_temperature import check_temperature
    >>> check_temperature(0.1)
    """
    check_positive_number(temperature, name)


def number_or_tensor(temperature: Any, name: str = "temperature") -> Any:
    """Check a temperature that may also be learned or follow a schedule.

    Args:
        temperature: a number, or a scalar floating-point tensor or variable.
        name: what the caller calls it.

    Returns:
        `temperature`; a tensor or variable as a tensor of at least float32.

    Raises:
        TypeError: if `temperature` is neither a number nor a floating-point tensor.
        ValueError: if it is a number not finite and above 0, or a tensor that is no scalar.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.losses.check_temperature import number_or_tensor
    >>> number_or_tensor(0.1)
    0.1
    >>> float(number_or_tensor(ops.convert_to_tensor(0.5)))
    0.5
    """
    if not (isinstance(temperature, keras.Variable) or ops.is_tensor(temperature)):
        check_temperature(temperature, name)
        return temperature
    dtype = keras.backend.standardize_dtype(temperature.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(f"`{name}` must be floating-point. Received: {name}.dtype={dtype}")
    if len(temperature.shape) != 0:
        raise ValueError(
            f"`{name}` must be a scalar. Received: {name}.shape={tuple(temperature.shape)}"
        )
    temperature = ops.convert_to_tensor(temperature)
    return ops.cast(temperature, keras.backend.result_type(dtype, "float32"))
