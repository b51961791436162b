"""A queue of features of earlier batches."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.ops import l2_normalize


@keras.saving.register_keras_serializable(package="keras_ssl")
class FeatureQueue(keras.layers.Layer):
    """First-in-first-out queue of the features of the last batches, as in MoCo and NNCLR.

    Called with a batch, the layer returns the features in the queue and, in training, replaces the
    oldest ones with the batch. So a loss of the output compares the batch with earlier ones. The
    features of all replicas are enqueued in the order of the global batch, so that every replica
    holds the same queue. It starts with random vectors of length 1 and is saved with the model.

    Args:
        size: number of features in the queue, a multiple of the global batch size. Batches whose
            size is unknown at tracing, such as a short last one, may have any size.
        seed: integer seed of the initial random vectors.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`. The queue
            is stored in float32 whatever the policy.

    Call arguments:
        inputs: tensor of a real number type, cast to float32. No gradient flows into the queue.
        training: whether to enqueue the batch.

    Input shape:
        `(batch, ..., dim)`, the batch of one replica, with any further axes of known size.

    Output shape:
        `(size, ..., dim)`, float32: the queue before this call.

    Raises:
        TypeError: if `size` is not an integer.
        ValueError: if `size` is not positive or not a multiple of the global batch size, or an
            axis of the input after the batch is missing or of unknown size.

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
        # draw a missing seed at construction, as any Keras layer does
        self._normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        axes = tuple(input_shape[1:])
        if not axes or None in axes:
            raise ValueError(
                "`inputs` must have shape (batch, ..., dim) with known sizes after the batch. "
                f"Received: shape {tuple(input_shape)}"
            )
        self.features = self.add_weight(
            name="features",
            shape=(self.size, *axes),
            dtype="float32",
            initializer=lambda *arguments, **dtype: l2_normalize(self._normal(*arguments, **dtype)),
            trainable=False,
            autocast=False,
        )
        self.input_spec = keras.layers.InputSpec(shape=(None, *axes))
        self.position = self.add_weight(
            name="position", shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        held = ops.copy(self.features.value)  # read before the update
        if training:
            self._enqueue(ops.stop_gradient(ops.cast(inputs, "float32")))
        return held

    def _enqueue(self, features: Any) -> None:
        features = distribute.all_gather(features)
        count = features.shape[0]
        if count is not None and self.size % count:
            raise ValueError(
                "`size` must be a multiple of the batch over all replicas. "
                f"Received: size={self.size} and a batch of {count}"
            )
        # After a batch of another size, batches wrap around at the end of the queue. A slice
        # update would silently be shifted to fit.
        features = features[-self.size :]
        count = ops.shape(features)[0]
        rows = (self.position.value + ops.arange(count, dtype="int32")) % self.size
        held = ops.scatter_update(self.features.value, rows[:, None], features)
        self.features.assign(held)
        self.position.assign((self.position + count) % self.size)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (self.size, *input_shape[1:])

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "seed": self.seed}
