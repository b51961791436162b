"""One embedding for every example of a data set."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.ops import l2_normalize


@keras.saving.register_keras_serializable(package="keras_ssl")
class MemoryBank(keras.layers.Layer):
    """Memory bank with a moving average of the normalized embedding of every example.

    Called with embeddings z_i and the indices i of their examples, the layer returns the stored
    embeddings v_i of these examples and, in training, updates them with momentum m:

        v_i ← normalize(m v_i + (1 - m) normalize(z_i))

    The embeddings of all replicas are stored, so that every replica holds the same bank. If an
    example occurs more than once in a batch, its last embedding counts. The bank starts with
    random vectors of length 1 and is saved with the model.

    Args:
        size: number of examples in the data set.
        momentum: float in [0, 1). With 0, new embeddings replace the stored ones.
        seed: integer seed of the initial random vectors.
        **kwargs: arguments of `keras.layers.Layer`. Unless `dtype` is given, the layer computes in
            `keras.config.floatx()`, at least float32, whatever the policy.

    Call arguments:
        inputs: float tensor of embeddings, which need not be normalized. No gradient flows into
            the bank.
        indices: integer tensor, the index in `0..size - 1` of each row's example.
        training: whether to update the bank.

    Input shape:
        `(batch, ..., dim)` and `(batch,)`, the batch of one replica. Further axes have known sizes.

    Output shape:
        `(batch, ..., dim)`: the stored embeddings before this call.

    Raises:
        TypeError: if `size` or the indices are not integers, or `momentum` is not a number.
        ValueError: if `size` is not positive, `momentum` is outside [0, 1), or the shapes do not
            match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import MemoryBank
    >>> bank = MemoryBank(4, momentum=0.0)
    >>> random = bank(np.array([[3.0, 4.0]]), np.array([2]), training=True)
    >>> [round(float(x), 3) for x in bank.rows(np.array([2]))[0]]
    [0.6, 0.8]

    Reference:
        - [Wu et al., Unsupervised Feature Learning via Non-Parametric Instance
          Discrimination](https://arxiv.org/abs/1805.01978)
    """

    def __init__(
        self, size: int, momentum: float = 0.5, seed: int | None = None, **kwargs: Any
    ) -> None:
        size = checks.integer("size", size, minimum=1)
        momentum = checks.below_one("momentum", momentum)
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = keras.backend.result_type(keras.config.floatx(), "float32")
        super().__init__(**kwargs)
        self.size = size
        self.momentum = momentum
        self.seed = seed
        # draw a missing seed at construction, as any Keras layer does
        self._normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)

    def build(
        self,
        inputs_shape: tuple[int | None, ...],
        indices_shape: tuple[int | None, ...] = (None,),
    ) -> None:
        axes = tuple(inputs_shape[1:])
        if not axes or None in axes:
            raise ValueError(
                "`inputs` must have shape (batch, ..., dim) with known sizes after the batch. "
                f"Received: inputs.shape={tuple(inputs_shape)}"
            )
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.size, *axes),
            initializer=lambda *arguments, **dtype: l2_normalize(self._normal(*arguments, **dtype)),
            trainable=False,
            autocast=False,
            # equal on all replicas already
            aggregation="only_first_replica",
        )
        self.input_spec = keras.layers.InputSpec(shape=(None, *axes))

    def call(self, inputs: Any, indices: Any, training: bool | None = None) -> Any:
        _check_indices(indices, inputs)
        held = self.rows(indices)
        if training:
            self._update(ops.stop_gradient(inputs), indices)
        return held

    def rows(self, indices: Any) -> Any:
        """Return the stored embeddings at integer indices of any shape."""
        return ops.take(self.embeddings, ops.cast(indices, "int32"), axis=0)

    def _update(self, embeddings: Any, indices: Any) -> None:
        embeddings = distribute.all_gather(ops.cast(embeddings, self.variable_dtype))
        indices = distribute.all_gather(ops.cast(indices, "int32"))
        # The order of writes to equal indices is undefined, so all of them write the last row.
        order = ops.arange(ops.shape(indices)[0], dtype="int32")
        last = ops.segment_max(order, indices, num_segments=self.size)
        embeddings = ops.take(embeddings, ops.take(last, indices), axis=0)
        old = self.rows(indices)
        new = self.momentum * old + (1 - self.momentum) * l2_normalize(embeddings)
        self.embeddings.assign(
            ops.scatter_update(self.embeddings.value, indices[:, None], l2_normalize(new))
        )

    def compute_output_shape(
        self, inputs_shape: tuple[int | None, ...], indices_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        arguments = {"size": self.size, "momentum": self.momentum, "seed": self.seed}
        return {**super().get_config(), **arguments}


def _check_indices(indices: Any, inputs: Any) -> None:
    """Raise unless `indices` holds one integer for each row of `inputs`."""
    if not hasattr(indices, "dtype") or not hasattr(indices, "shape"):
        indices = ops.convert_to_tensor(indices)
    dtype = keras.backend.standardize_dtype(indices.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise TypeError(f"`indices` must hold integers. Received: indices.dtype={dtype}")
    sizes = (*tuple(indices.shape), inputs.shape[0])
    if len(sizes) != 2 or (None not in sizes and sizes[0] != sizes[1]):
        raise ValueError(
            "`indices` must hold one integer for each row of `inputs`. "
            f"Received: indices.shape={tuple(indices.shape)}, inputs.shape={tuple(inputs.shape)}"
        )
