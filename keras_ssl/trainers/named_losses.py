"""What `compute_losses` returns, on its way to one number."""

from typing import Any

from keras import ops

from keras_ssl import distribute

# operations that hand a scalar on; a mean before one of them is still a mean
_SCALAR_STEPS = {"Add", "AddV2", "AddN", "Sub", "Neg", "Mul", "RealDiv", "Cast", "Identity"}


def replica_share(loss: Any) -> Any:
    """This replica's share of a loss, so that the sum over replicas is the global mean."""
    loss = ops.cast(loss, "float32")
    return ops.mean(loss) / distribute.replica_count() if len(loss.shape) else loss


def check_no_mean_by_hand(losses: list[dict[str, Any]], replicas: int) -> None:
    """Raise where a scalar comes from means of this replica's values, and is not its share."""
    for name, loss in (item for these in losses for item in these.items()):
        is_scalar = name != "representation" and not len(loss.shape)
        if replicas > 1 and is_scalar and _comes_from_a_mean(loss):
            raise ValueError(
                f"The loss '{name}' is a mean that `compute_losses` took by hand; over "
                f"{replicas} replicas such means add up. Return the values by example, or what "
                "a `keras.losses.Loss` returns whose `call` gives a value an example."
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


def pop_representation(losses: list[dict[str, Any]]) -> Any:
    """Take the representation out of the losses; the last that is given counts."""
    representations = [these.pop("representation", None) for these in losses]
    return next((r for r in reversed(representations) if r is not None), None)
