"""Time stretched before a point and squeezed behind it, or the other way round."""

from typing import Any

import keras
from keras import ops

from keras_ssl.augment._tensors import float_dtypes
from keras_ssl.augment.sequence._base import (
    SequenceAugmentation,
    check_length,
    for_each_step,
    steps_of,
    take_steps,
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomTimeWarp(SequenceAugmentation):
    """A random step of each sequence moved along time, with the rest following linearly.

    With `T` steps, a step `p`, uniform in [max_shift, T - 1 - max_shift], moves to `p + w`, with
    `w` uniform in [-max_shift, max_shift]. The first and last steps stay, and what lies between is
    stretched or squeezed evenly. Values between steps are interpolated linearly.

    Args:
        max_shift: the farthest that a step may move: a number of steps (an integer) or a fraction
            of the sequence (a float). It is at most half the sequence.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of sequences. Padded steps are moved like all others.
        training: whether to warp.

    Input shape:
        `(batch, time)` or `(batch, time, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype; integers become float32.

    Raises:
        ValueError: if `max_shift` is negative, or a fraction above 1.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> warp = augment.sequence.RandomTimeWarp(max_shift=3, seed=0)
    >>> warped = warp(np.arange(10.0)[None])[0].numpy()
    >>> float(warped[0]), float(warped[-1]), bool((np.diff(warped) > 0).all())
    (0.0, 9.0, True)

    Reference:
        - [Park et al., SpecAugment](https://arxiv.org/abs/1904.08779), whose time warping is this
          on the grid of a spectrogram
    """

    def __init__(self, max_shift: int | float = 0.1, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.max_shift = check_length("max_shift", max_shift)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """Which point moves and where to, in steps: `point` and `target`, float32 `(batch,)`."""
        batch, time = ops.shape(inputs)[:2]
        last = ops.cast(time, "float32") - 1.0
        shift = ops.minimum(steps_of(self.max_shift, time), 0.5 * last)
        uniforms = self.uniform((batch, 2), seed)
        point = shift + uniforms[:, 0] * (last - 2.0 * shift)
        return {"point": point, "target": point + (2.0 * uniforms[:, 1] - 1.0) * shift}

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Move given points."""
        computed, returned = float_dtypes(inputs)
        time = ops.shape(inputs)[1]
        last = ops.cast(time, "float32") - 1.0
        steps = ops.arange(time, dtype="float32")
        point, target = parameters["point"][:, None], parameters["target"][:, None]
        # where the value of each step comes from; no division by the length of an empty side
        before = steps * point / ops.maximum(target, 1e-6)
        behind = point + (steps - target) * (last - point) / ops.maximum(last - target, 1e-6)
        source = ops.clip(ops.where(steps <= target, before, behind), 0.0, last)
        low = ops.floor(source)
        weight = ops.cast(for_each_step(source - low, inputs), computed)
        low = ops.cast(low, "int32")
        x = ops.cast(inputs, computed)
        first, second = take_steps(x, low), take_steps(x, ops.minimum(low + 1, time - 1))
        return ops.cast(first + weight * (second - first), returned)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """No mask: that of the inputs would not lie on the same steps."""
        return None

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "max_shift": self.max_shift}
