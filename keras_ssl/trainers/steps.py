"""How far training is, for methods that begin otherwise than they go on."""

from typing import Any

from keras import ops


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
