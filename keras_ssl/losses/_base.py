"""Base class of all losses."""

from typing import Any

import keras


class Float32Loss(keras.losses.Loss):
    """Base of the losses, which compute in at least float32 under mixed precision.

    A subclass validates its inputs in `__call__`, before Keras casts them, which would hide
    integers.
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        if dtype is None:
            dtype = keras.backend.result_type(keras.config.floatx(), "float32")
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "dtype": self.dtype}
