"""Checks of scalar arguments and of the backend, shared by the whole package.

Each check takes the argument's name and value. It returns the value as a plain Python number, or
raises a `TypeError` (wrong type) or `ValueError` (wrong value) that ends in "Received: name=value".
NumPy numbers count as numbers, bools do not.

>>> import numpy as np
>>> from keras_ssl import checks
>>> checks.integer("width", np.int64(128), minimum=1)
128
>>> checks.integer("width", 0, minimum=1)
Traceback (most recent call last):
...
ValueError: `width` must be a positive integer. Received: width=0
>>> checks.probability("rate", 1)
1.0
>>> checks.image_size("size", 32)
(32, 32)
"""

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl.ops.precision import at_least_float32
from keras_ssl.ops.schedules import is_schedule

_INFINITY = float("inf")


def integer(
    name: str, value: Any, minimum: int | None = None, optional: bool = False
) -> int | None:
    """Check an integer; with `optional=True`, `None` is allowed too."""
    if optional and value is None:
        return None
    if minimum is None:
        expected = "an integer"
    else:
        expected = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
    if optional:
        expected += " or None"
    _check_type(name, value, expected, numbers.Integral)
    if minimum is not None and value < minimum:
        raise ValueError(_message(name, value, expected))
    return int(value)


def number(name: str, value: Any, minimum: float = -_INFINITY, maximum: float = _INFINITY) -> float:
    """Check a finite number from `minimum` to `maximum`."""
    expected = "a number"
    if maximum != _INFINITY:
        expected += f" from {minimum:g} to {maximum:g}"
    elif minimum != -_INFINITY:
        expected += f" of at least {minimum:g}"
    return _real(name, value, expected, lambda v: minimum <= v <= maximum)


def positive(name: str, value: Any, maximum: float = _INFINITY) -> float:
    """Check a finite number above 0 and at most `maximum`."""
    expected = "a positive number" + ("" if maximum == _INFINITY else f" of at most {maximum:g}")
    return _real(name, value, expected, lambda v: 0 < v <= maximum)


def below_one(name: str, value: Any, positive: bool = False) -> float:
    """Check a number in [0, 1), such as a dropout rate; with `positive=True`, in (0, 1)."""
    expected = "a number in (0, 1)" if positive else "a number in [0, 1)"
    return _real(name, value, expected, lambda v: 0 <= v < 1 and (v > 0 or not positive))


def probability(name: str, value: Any) -> float:
    """Check a number in [0, 1]."""
    return number(name, value, 0.0, 1.0)


def temperature(name: str, value: Any) -> Any:
    """Check a positive number, or a scalar floating-point tensor, which is cast to float32."""
    return _number_or_scalar(name, value, positive)


def bias(name: str, value: Any) -> Any:
    """Check a finite number, or a scalar floating-point tensor, which is cast to float32."""
    return _number_or_scalar(name, value, number)


def _number_or_scalar(name: str, value: Any, check: Callable[[str, Any], float]) -> Any:
    if not (isinstance(value, keras.Variable) or ops.is_tensor(value)):
        return check(name, value)
    dtype = keras.backend.standardize_dtype(value.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(f"`{name}` must be floating-point. Received: {name}.dtype={dtype}")
    if len(value.shape) != 0:
        raise ValueError(f"`{name}` must be a scalar. Received: {name}.shape={tuple(value.shape)}")
    return at_least_float32(value)


def positive_or_schedule(name: str, value: Any) -> Any:
    """Check a finite number above 0, or a schedule of such numbers."""
    if is_schedule(value):
        return value
    expected = "a positive number or a schedule, such as one of `keras.optimizers.schedules`"
    return _real(name, value, expected, lambda v: v > 0)


def momentum(name: str, value: Any) -> Any:
    """Check a number in [0, 1) or a schedule of such numbers."""
    if is_schedule(value):
        return value
    expected = (
        "a number in [0, 1) or a schedule, such as `keras_ssl.optimizers.cosine_momentum(...)`"
    )
    return _real(name, value, expected, lambda v: 0 <= v < 1)


def interval(
    name: str,
    value: Any,
    minimum: float = -_INFINITY,
    maximum: float = _INFINITY,
    positive: bool = False,
    distinct: bool = False,
) -> tuple[float, float]:
    """Check a pair of finite numbers (low, high) in order, within the given limits.

    With `positive=True` low must be above 0; with `distinct=True` it must be below high.
    """
    expected = f"two numbers (low, high) with low {'<' if distinct else '<='} high"
    if positive:
        expected += " and low > 0"
    elif minimum != -_INFINITY:
        expected += f" and low >= {minimum:g}"
    if maximum != _INFINITY:
        expected += f" and high <= {maximum:g}"
    message = _message(name, value, expected)
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(message)
    if any(isinstance(v, bool) or not isinstance(v, numbers.Real) for v in value):
        raise TypeError(message)
    low, high = float(value[0]), float(value[1])
    in_order = low < high if distinct else low <= high
    in_limits = low >= minimum and high <= maximum and (low > 0 or not positive)
    if not (in_order and in_limits and math.isfinite(low) and math.isfinite(high)):
        raise ValueError(message)
    return low, high


def image_size(name: str, value: Any) -> tuple[int, int]:
    """Check a size in pixels: (height, width), or one integer for both."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    message = _message(name, value, "a positive integer or a pair of them (height, width)")
    if any(isinstance(v, bool) or not isinstance(v, numbers.Integral) for v in pair):
        raise TypeError(message)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(message)
    return int(pair[0]), int(pair[1])


def training_backend() -> None:
    """Raise a `RuntimeError` unless Keras' backend is one that trainers run on."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise RuntimeError(
            "Trainers need the TensorFlow or the JAX backend, while layers, losses, optimizers, "
            "networks and augmentation run on every backend of Keras: set the environment variable "
            "KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax before Keras is imported. "
            f"Received: the backend {backend!r}"
        )


def tensorflow_backend(name: str) -> None:
    """Raise a `RuntimeError` unless Keras' backend is TensorFlow.

    Args:
        name: what needs TensorFlow, as the message begins.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            f"{name} need the TensorFlow backend, while trainers run on JAX too, and layers, "
            "losses, optimizers, networks and augmentation on every backend of Keras: set the "
            "environment variable KERAS_BACKEND=tensorflow before Keras is imported. "
            f"Received: the backend {backend!r}"
        )


def _real(name: str, value: Any, expected: str, is_allowed: Any) -> float:
    _check_type(name, value, expected, numbers.Real)
    # NaN fails every comparison
    if not (is_allowed(value) and math.isfinite(value)):
        raise ValueError(_message(name, value, expected))
    return float(value)


def _check_type(name: str, value: Any, expected: str, kind: type) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{_message(name, value, expected)} of type {type(value).__name__}")


def _message(name: str, value: Any, expected: str) -> str:
    return f"`{name}` must be {expected}. Received: {name}={value!r}"
