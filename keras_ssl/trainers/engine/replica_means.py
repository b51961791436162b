"""Check that finds losses averaged over the examples of a single replica."""

from typing import Any

# operations on scalars after which a mean is still a mean
_SCALAR_STEPS = {"Add", "AddV2", "AddN", "Sub", "Neg", "Mul", "RealDiv", "Cast", "Identity"}


def check_no_mean_by_hand(losses: list[dict[str, Any]], replicas: int) -> None:
    """Raise a `ValueError` if a scalar loss is a mean over the examples of one of several replicas.

    Args:
        losses: named losses of each update, as tensors of the graph in which they were traced.
        replicas: how many replicas share a batch.
    """
    for name, loss in (item for these in losses for item in these.items()):
        is_scalar = name != "representation" and not len(loss.shape)
        if replicas > 1 and is_scalar and _comes_from_a_mean(loss):
            raise ValueError(
                f"The loss '{name}' is a mean that `compute_losses` took by hand. Means of "
                "replicas would be added up. Expected one value per example, or the result of a "
                "`keras.losses.Loss` whose `call` returns one value per example. "
                f"Received: the mean of one replica's examples, with {replicas} replicas"
            )


def _comes_from_a_mean(scalar: Any) -> bool:
    """Return whether a graph tensor is a mean followed by operations on scalars only."""
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
