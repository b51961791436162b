"""Random window of a sequence."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.sequence._base import SequenceAugmentation, take_steps


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomTimeCrop(SequenceAugmentation):
    """Window of fixed length, at a random place of each sequence.

    Outside training the window lies in the middle.

    Args:
        length: steps of the window.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of sequences. The window may fall on padded steps.
        training: whether the place is random.

    Input shape:
        `(batch, time)` or `(batch, time, features)`, integer or floating-point, with `time` at
        least `length`.

    Output shape:
        `(batch, length)` or `(batch, length, features)`, in the dtype of the inputs.

    Raises:
        ValueError: if `length` is larger than the sequences.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> crop = augment.sequence.RandomTimeCrop(3)
    >>> crop(np.arange(7)[None], training=False).numpy().tolist()
    [[2, 3, 4]]
    """

    def __init__(self, length: int, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.length = checks.integer("length", length, 1)

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the inputs are sequences of at least `length` steps."""
        super().check_inputs(inputs)
        self._check_time(inputs.shape)

    def _check_time(self, shape: Any) -> None:
        if shape[1] is not None and shape[1] < self.length:
            raise ValueError(
                f"Layer '{self.name}' cuts windows of {self.length} steps, longer than the "
                "sequences. Pad the sequences first, or pass a smaller `length`. "
                f"Received: shape {tuple(shape)}"
            )

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """First step of the windows: `start`, int32 `(batch,)`."""
        batch, time = ops.shape(inputs)[:2]
        last = time - self.length
        start = ops.cast(
            self.uniform((batch,), seed) * ops.cast(last + 1, "float32"),
            "int32",
        )
        # a uniform number just below 1 may round up
        return {"start": ops.minimum(start, last)}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Cut windows that begin at given steps."""
        steps = ops.arange(self.length, dtype="int32")
        return take_steps(inputs, parameters["start"][:, None] + steps)

    def at_inference(self, inputs: Any) -> Any:
        """Cut the window in the middle."""
        start = (ops.shape(inputs)[1] - self.length) // 2
        return inputs[:, start : start + self.length]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Shape of the windows."""
        self._check_time(input_shape)
        return (input_shape[0], self.length, *input_shape[2:])

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """No mask: that of the inputs would not lie on the window's steps."""
        return None

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "length": self.length}
