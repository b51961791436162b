"""The settings that contrastive losses have in common."""

from typing import Any

from keras_ssl import checks
from keras_ssl.losses._float32_loss import Float32Loss


class ContrastiveLoss(Float32Loss):
    """Base of the losses that are a softmax over similarities.

    Args:
        temperature: float above 0, by which similarities are divided.
        chunk_size: `None`, or the side of the tiles in which similarities are computed.
        reduction: as in `keras.losses.Loss`.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Raises:
        ValueError: if `temperature` is not finite and above 0, or `chunk_size` below 1.
        TypeError: if `temperature` is not a number, or `chunk_size` not an integer.

    Example:

    >>> from keras_ssl.losses.contrastive._contrastive_loss import ContrastiveLoss
    >>> ContrastiveLoss(temperature=0.2, chunk_size=2048).get_config()["chunk_size"]
    2048
    """

    def __init__(
        self,
        temperature: float = 0.1,
        chunk_size: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        checks.positive("temperature", temperature)
        checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.temperature = float(temperature)
        self.chunk_size = None if chunk_size is None else int(chunk_size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "chunk_size": self.chunk_size,
        }
