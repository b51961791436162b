"""What every loss here does about dtypes: it computes in float32 at least."""

from typing import Any

import keras


class Float32Loss(keras.losses.Loss):
    """Base of losses that compute in float32 where the network computes in less.

    Args:
        reduction: as in `keras.losses.Loss`.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Example:

    >>> from keras_ssl.losses._float32_loss import Float32Loss
    >>> Float32Loss().get_config()["dtype"]
    'float32'
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
