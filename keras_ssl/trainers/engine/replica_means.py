"""Finds losses that are means over one replica's examples only."""

from typing import Any

# operations that pass a scalar on; a mean before one of them is still a mean
_SCALAR_STEPS = {"Add", "AddV2", "AddN", "Sub", "Neg", "Mul", "RealDiv", "Cast", "Identity"}


def check_no_mean_by_hand(losses: list[dict[str, Any]], replicas: int) -> None:
    """Raise if a scalar loss is a mean of one replica's values, which Keras has not divided.

    Args:
        losses: named losses of each update, as tensors of the graph in which they were traced.
        replicas: how many replicas share a batch.

    Raises:
        ValueError: if there are several replicas and a loss is such a mean.
    """
    for name, loss in (item for these in losses for item in these.items()):
        is_scalar = name != "representation" and not len(loss.shape)
        if replicas > 1 and is_scalar and _comes_from_a_mean(loss):
            raise ValueError(
                f"The loss '{name}' is a mean that `compute_losses` took by hand; over "
                f"{replicas} replicas such means add up. Return the values per example, or what "
                "a `keras.losses.Loss` returns whose `call` gives a value per example."
            )


def _comes_from_a_mean(scalar: Any) -> bool:
    """Whether a mean reaches this graph tensor through operations on scalars alone."""
    waiting, seen = [scalar], set()
    while waiting:
        tensor = waiting.pop()
        if len(tensor.shape) or id(tensor.op) in seen:
            continue
        seen.add(id(tensor.op))
        if tensor.op.type == "Mean":
            return True
        if tensor.op.type in _SCALAR_STEPS:
            waiting.extend(tensor.op.inputs)
    return False
