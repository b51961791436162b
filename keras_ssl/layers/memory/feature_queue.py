"""A queue of features: negatives, or neighbours, from the batches before this one."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.layers.memory._random_directions import RandomDirections


@keras.saving.register_keras_serializable(package="keras_ssl")
class FeatureQueue(keras.layers.Layer):
    """The features of the last batches, first in, first out.

    Called with a batch of features, the layer returns what it holds and, in training, puts the
    batch in the place of the oldest. So a loss that is given the output compares this batch with
    those before it. Features of all replicas go in, in the order of the global batch: every
    replica holds the same queue. It starts with random vectors of length 1, and is saved.

    Args:
        size: how many features it holds, a multiple of the global batch. A batch whose size is
            not known when the step is traced, such as a short last one, may be of any.
        seed: integer seed of the random vectors at the start.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`. The queue itself is kept
            in float32.

    Call arguments:
        inputs: `(batch, dim)`, floating-point. No gradient flows into the queue.
        training: whether to take the batch in.

    Input shape:
        `(batch, dim)`, the batch of one replica.

    Output shape:
        `(size, dim)`, float32: what the queue held before this call.

    Raises:
        ValueError: if `size` is below 1, smaller than the global batch, or no multiple of it; or
            if the input is not of rank 2.
        TypeError: if `size` is no integer.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.layers import FeatureQueue
    >>> queue = FeatureQueue(4, seed=0)
    >>> random = queue(np.array([[1.0, 0.0], [0.0, 1.0]]), training=True)
    >>> queue(np.array([[2.0, 0.0], [0.0, 2.0]]), training=True)[:2].numpy().tolist()
    [[1.0, 0.0], [0.0, 1.0]]

    Reference:
        - [He et al., Momentum Contrast for Unsupervised Visual Representation
          Learning](https://arxiv.org/abs/1911.05722)
    """

    def __init__(self, size: int, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = checks.integer("size", size, minimum=1)
        self.seed = seed
        # a seed that is not given is drawn now, as that of any Keras layer
        self._random_directions = RandomDirections(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the random features of the start."""
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                f"The input must have shape (batch, dim). Received: shape {tuple(input_shape)}"
            )
        self.features = self.add_weight(
            name="features",
            shape=(self.size, input_shape[-1]),
            dtype="float32",
            initializer=self._random_directions,
            trainable=False,
            autocast=False,
        )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})
        self.position = self.add_weight(
            name="position", shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        held = ops.copy(self.features.value)  # read now, and not when it is used
        if training:
            self._take_in(ops.stop_gradient(ops.cast(inputs, "float32")))
        return held

    def _take_in(self, features: Any) -> None:
        features = distribute.all_gather(features)
        count = features.shape[0]
        if count is not None and self.size % count:
            raise ValueError(
                "`size` must be a multiple of the batch over all replicas. "
                f"Received: size={self.size} and a batch of {count}"
            )
        # After a short last batch or one of another size, a batch goes past the queue's end and
        # on from its start. A slice would be moved back before the end without a word.
        features = features[-self.size :]
        count = ops.shape(features)[0]
        rows = (self.position.value + ops.arange(count, dtype="int32")) % self.size
        held = ops.scatter_update(self.features.value, rows[:, None], features)
        self.features.assign(held)
        self.position.assign((self.position + count) % self.size)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (self.size, input_shape[-1])

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor((self.size, inputs.shape[-1]), "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "seed": self.seed}
