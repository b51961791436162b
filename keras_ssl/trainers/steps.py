"""How far training is, for methods that begin otherwise than they go on."""

import numbers
from typing import Any

from keras import ops


def check_steps(name: str, steps: Any) -> int:
    """Raise unless an argument is a number of optimizer steps.

    Args:
        name: the constructor's argument.
        steps: what it got.

    Returns:
        The number, as a Python integer.

    Raises:
        TypeError: if it is no integer; a bool is none.
        ValueError: if it is below 0.
    """
    if isinstance(steps, bool) or not isinstance(steps, numbers.Integral):
        raise TypeError(
            f"`{name}` must be an integer. "
            f"Received: {name}={steps!r} of type {type(steps).__name__}"
        )
    if steps < 0:
        raise ValueError(f"`{name}` must be at least 0. Received: {name}={steps}")
    return int(steps)


def steps_taken(trainer: Any) -> Any:
    """Return how many steps a trainer's optimizer has taken.

    Args:
        trainer: the trainer.

    Returns:
        A scalar int32 tensor, 0 before the trainer is compiled.
    """
    optimizer = trainer.optimizers["main"]
    # a trainer that is loaded is traced before it is compiled
    return ops.cast(0 if optimizer is None else optimizer.iterations, "int32")


def is_before(trainer: Any, step: int) -> Any:
    """Whether a trainer has taken fewer than so many optimizer steps.

    Args:
        trainer: the trainer.
        step: the number of steps.

    Returns:
        A scalar tensor of bool; `False` for step 0.
    """
    return step > 0 and ops.less(steps_taken(trainer), step)
