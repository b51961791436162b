"""Numbers that may follow a schedule of training steps, such as the temperature of a loss."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

_step: ContextVar[Callable[[], Any] | None] = ContextVar("step", default=None)


@contextmanager
def at_step(step: Callable[[], Any]) -> Iterator[None]:
    """Scope in which schedules have the value of a training step.

    Args:
        step: function that returns the number of steps taken, a number or a scalar tensor. It is
            called where a schedule is read, so that the tensor is made in the graph that uses it.

    Example:

    >>> import keras
    >>> from keras_ssl.ops import schedules
    >>> cooling = keras.optimizers.schedules.PolynomialDecay(0.5, 100, 0.1)
    >>> with schedules.at_step(lambda: 50):
    ...     round(float(schedules.value_now(cooling)), 3)
    0.3
    """
    token = _step.set(step)
    try:
        yield
    finally:
        _step.reset(token)


def value_now(
    value: Any, name: str = "temperature", optimizer: keras.optimizers.Optimizer | None = None
) -> Any:
    """Return a number, or the current value of a schedule.

    Args:
        value: a number or tensor, which is returned, or a schedule.
        name: name of the argument for the error message.
        optimizer: where to read the step from outside of `at_step`.

    Returns:
        A number or a scalar tensor.

    Raises:
        ValueError: if `value` is a schedule and the step is not known.
    """
    if not is_schedule(value):
        return value
    step = _step.get()
    if step is not None:
        return value(step())
    if optimizer is not None:
        return value(optimizer.iterations)
    raise ValueError(
        f"`{name}` is a schedule, and the step is not known here. Trainers of keras_ssl know it. "
        "For a loss in `keras.Model.compile`, call `loss.follow(optimizer)` with the optimizer of "
        f"the model first. Received: {name}={value}"
    )


def is_schedule(value: Any) -> bool:
    """Return whether a value is a schedule of Keras, or follows its interface."""
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return True
    is_function = callable(value) and not keras.ops.is_tensor(value) and not isinstance(value, type)
    return is_function and hasattr(value, "get_config")


def serialize(value: Any) -> Any:
    """Return a number as it is, and a schedule serialised."""
    return keras.saving.serialize_keras_object(value) if is_schedule(value) else value
