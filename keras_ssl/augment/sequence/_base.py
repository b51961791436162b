"""Base of the layers on sequences, and what several of them need."""

from typing import Any

from keras import ops

from keras_ssl import checks
from keras_ssl.augment._tensors import check_tensor
from keras_ssl.augment.augmentation import Augmentation


class SequenceAugmentation(Augmentation):
    """Random operation on a batch of sequences `(batch, time)` or `(batch, time, features)`."""

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the inputs are a batch of sequences."""
        expected = "sequences of shape (batch, time) or (batch, time, features)"
        check_tensor(self, inputs, expected, (2, 3))


class FeatureSequenceAugmentation(Augmentation):
    """Random operation on the features of sequences `(batch, time, features)`."""

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the inputs are a batch of sequences with features."""
        check_tensor(self, inputs, "sequences of shape (batch, time, features)", (3,))


def check_length(name: str, value: Any) -> int | float:
    """Check a length: a number of steps (an integer), or a fraction of the axis (a float)."""
    if isinstance(value, float):
        return checks.probability(name, value)
    return checks.integer(name, value, 0)


def steps_of(length: int | float, size: Any) -> Any:
    """A length in steps along an axis of `size` steps, at most `size`; float32."""
    size = ops.cast(size, "float32")
    return ops.floor(length * size) if isinstance(length, float) else ops.minimum(length, size)


def take_steps(x: Any, steps: Any) -> Any:
    """Read each sequence at given steps.

    Args:
        x: `(batch, time, ...)`.
        steps: int32 `(batch, n)`, each in [0, time).

    Returns:
        `(batch, n, ...)`.
    """
    batch, time = ops.shape(x)[:2]
    rows = ops.reshape(x, (-1, *x.shape[2:]))
    return ops.take(rows, ops.arange(batch, dtype="int32")[:, None] * time + steps, axis=0)


def for_each_step(per_step: Any, x: Any) -> Any:
    """Numbers `(batch, time)` or `(batch, 1)` in a shape that broadcasts against `x`."""
    return per_step if len(x.shape) == 2 else per_step[:, :, None]
