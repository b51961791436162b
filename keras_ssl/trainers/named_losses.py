"""What `compute_losses` returns, on its way to one number."""

from typing import Any

from keras import ops

from keras_ssl import distribute


def replica_share(loss: Any) -> Any:
    """This replica's share of a loss, so that the sum over replicas is the global mean."""
    loss = ops.cast(loss, "float32")
    return ops.mean(loss) / distribute.replica_count() if len(loss.shape) else loss


def check_no_mean_by_hand(losses: list[dict[str, Any]], replicas: int) -> None:
    """Raise where a scalar is plainly a mean of this replica's values, not its share of one."""
    for name, loss in (item for these in losses for item in these.items()):
        is_scalar = name != "representation" and not len(loss.shape)
        if replicas > 1 and is_scalar and loss.op.type == "Mean":
            raise ValueError(
                f"The loss '{name}' is a mean that `compute_losses` took by hand; over "
                f"{replicas} replicas such means add up. Return the values by example, or what "
                "a `keras.losses.Loss` returns."
            )


def pop_representation(losses: list[dict[str, Any]]) -> Any:
    """Take the representation out of the losses; the last that is given counts."""
    representations = [these.pop("representation", None) for these in losses]
    return next((r for r in reversed(representations) if r is not None), None)
