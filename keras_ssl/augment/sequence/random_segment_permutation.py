"""Segments of a sequence in random order."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.sequence._base import SequenceAugmentation, take_steps


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomSegmentPermutation(SequenceAugmentation):
    """Sequence cut at random places into segments, which are put together in random order.

    Places to cut are uniform and may coincide, so there are at most `segments` segments.

    Args:
        segments: largest number of segments.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of sequences. Padded steps are moved like all others.
        training: whether to permute.

    Input shape:
        `(batch, time)` or `(batch, time, features)`, integer or floating-point.

    Output shape:
        That of the inputs, in their dtype.

    Raises:
        ValueError: if `segments` is less than 1.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> permute = augment.sequence.RandomSegmentPermutation(3, seed=0)
    >>> permuted = permute(np.arange(8)[None])
    >>> sorted(permuted.numpy()[0].tolist())
    [0, 1, 2, 3, 4, 5, 6, 7]

    Reference:
        - [Um et al., Data Augmentation of Wearable Sensor Data for Parkinson's Disease Monitoring
          using Convolutional Neural Networks](https://arxiv.org/abs/1706.00527)
        - [Eldele et al., Time-Series Representation Learning via Temporal and Contextual
          Contrasting](https://arxiv.org/abs/2106.14112), whose strong view is jitter after this
    """

    def __init__(self, segments: int = 5, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=seed, **kwargs)
        self.segments = checks.integer("segments", segments, 1)

    def draw(self, inputs: Any, seed: Any = None) -> dict:
        """Steps before which to cut, and the new place of each segment.

        Returns:
            `cuts`, int32 `(batch, segments - 1)`, in any order, and `place`, int32
            `(batch, segments)`.
        """
        batch, time = ops.shape(inputs)[:2]
        uniforms = self.uniform((batch, 2 * self.segments - 1), seed)
        cuts = uniforms[:, self.segments :] * ops.cast(time, "float32")
        return {
            "cuts": ops.cast(cuts, "int32"),
            "place": ops.cast(ops.argsort(uniforms[:, : self.segments], axis=-1), "int32"),
        }

    def apply(self, inputs: Any, parameters: dict) -> Any:
        """Put segments in a given order."""
        time = ops.shape(inputs)[1]
        steps = ops.arange(time, dtype="int32")
        is_behind = steps[None, :, None] >= parameters["cuts"][:, None]
        segment = ops.sum(ops.cast(is_behind, "int32"), axis=-1)
        is_segment = segment[:, :, None] == ops.arange(self.segments, dtype="int32")
        place = ops.sum(ops.where(is_segment, parameters["place"][:, None], 0), axis=-1)
        # sorted by the new place of their segment, then by their old place in it
        return take_steps(inputs, ops.cast(ops.argsort(place * time + steps, axis=-1), "int32"))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """No mask: that of the inputs would not lie on the same steps."""
        return None

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "segments": self.segments}
