"""Base class of all losses."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops.schedules import value_now


class Float32Loss(keras.losses.Loss):
    """Base of the losses, which compute in at least float32 under mixed precision.

    A subclass validates its inputs in `__call__`, before Keras casts them, which would hide
    integers. It reads an argument that may be a schedule by `value_now`.

    Args:
        reduction: how the values of examples become a number, as in `keras.losses.Loss`.
        name: name of the loss, or `None`.
        dtype: dtype that it computes in; `None` for Keras' `floatx`, and at least float32.
    """

    _optimizer = None

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        dtype = keras.dtype_policies.get(dtype or keras.config.floatx()).compute_dtype
        dtype = keras.backend.result_type(dtype, "float32")
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def follow(self, optimizer: keras.optimizers.Optimizer) -> Any:
        """Let schedules among the arguments follow the steps of an optimizer.

        Trainers of keras_ssl tell the step themselves, and go first. Call this for a loss whose
        temperature is a schedule in a plain Keras model: `model.compile(optimizer,
        loss=loss.follow(optimizer))`. It is not saved with the loss.

        Args:
            optimizer: the optimizer whose steps count.

        Returns:
            The loss itself.

        Raises:
            TypeError: if `optimizer` is not a Keras optimizer.
            ValueError: on a backend other than TensorFlow, whose compiled steps do not show a loss
                the step.
        """
        if not isinstance(optimizer, keras.optimizers.Optimizer):
            raise TypeError(f"`optimizer` must be a Keras optimizer. Received: {optimizer!r}")
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "A loss can follow an optimizer with the TensorFlow backend only. Write a "
                "`train_step` that passes `schedule(step)` to the function of the loss. "
                f"Received: the backend {keras.backend.backend()!r}"
            )
        self._optimizer = optimizer
        return self

    def value_now(self, name: str) -> Any:
        """Return the current value of an argument that is a number or a schedule.

        Args:
            name: name of the argument.

        Returns:
            A number or a scalar tensor.
        """
        return value_now(getattr(self, name), name, self._optimizer)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Return the loss that `config` describes."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(value)
                if isinstance(value, dict)
                else value
                for name, value in config.items()
            }
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "dtype": self.dtype}


class BatchLoss(Float32Loss):
    """Base of the losses that are one number for the global batch, not a mean over examples.

    There is neither a reduction nor a sample weight. A subclass's `call` returns its number as a
    tensor of shape `(1,)`, equal on all replicas, which Keras divides by their number.

    Args:
        name: name of the loss, or `None`.
        dtype: as of `Float32Loss`.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None):
        super().__init__(name=name, dtype=dtype)

    def __call__(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of a batch."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} is a loss of batch statistics and does not weigh examples. "
                f"Expected no `sample_weight`. Received: sample_weight={sample_weight!r}"
            )
        return super().__call__(x, y)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = super().get_config()
        del config["reduction"]
        return config


def like(temperature: Any, z: Any) -> Any:
    """Return a temperature that is a tensor in the dtype of embeddings; a number as it is."""
    return temperature if isinstance(temperature, float) else ops.cast(temperature, z.dtype)
