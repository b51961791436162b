"""One embedding of every example of the data set, as it was when the example last came."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.layers.memory._random_directions import RandomDirections
from keras_ssl.ops import l2_normalize


@keras.saving.register_keras_serializable(package="keras_ssl")
class MemoryBank(keras.layers.Layer):
    """An embedding of length 1 of every example, which follows what the network says of it.

    Called with embeddings and the indices of their examples, the layer returns what it holds of
    these examples and, in training, moves that towards the embeddings z_i, with momentum m:

        v_i ← normalize(m v_i + (1 - m) normalize(z_i))

    All other entries stay. What comes from all replicas goes in, so that every replica holds the
    same bank. Where an example comes more than once in a batch, its last embedding counts. The
    bank starts with random vectors and is saved.

    Args:
        size: how many examples the data set holds.
        momentum: m, at least 0 and below 1; with 0 the newest embedding takes the entry's place.
        seed: integer seed of the random vectors at the start.
        **kwargs: those of `keras.layers.Layer`. Unless `dtype` is given, the layer computes in
            `keras.config.floatx()`, at least float32, whatever the policy.

    Call arguments:
        inputs: `(batch, dim)`, floating-point; need not be normalised. No gradient flows into the
            bank.
        indices: `(batch,)`, integers from 0 to `size - 1`: which example each row belongs to.
        training: whether to move the entries.

    Input shape:
        `(batch, dim)` and `(batch,)`, the batch of one replica.

    Output shape:
        `(batch, dim)`: the entries before this call.

    Raises:
        ValueError: if `size` is below 1, `momentum` outside [0, 1), or shapes do not fit.
        TypeError: if `size`, `momentum` or the indices are not the numbers they should be.

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
        # a seed that is not given is drawn now, as that of any Keras layer
        self._random_directions = RandomDirections(seed)

    def build(
        self,
        inputs_shape: tuple[int | None, ...],
        indices_shape: tuple[int | None, ...] = (None,),
    ) -> None:
        """Make the random vectors of the start."""
        if len(inputs_shape) != 2 or inputs_shape[-1] is None:
            raise ValueError(
                "`inputs` must have shape (batch, dim). "
                f"Received: inputs.shape={tuple(inputs_shape)}"
            )
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.size, inputs_shape[-1]),
            initializer=self._random_directions,
            trainable=False,
            autocast=False,
            # all replicas assign the same: no second exchange
            aggregation="only_first_replica",
        )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: inputs_shape[-1]})

    def call(self, inputs: Any, indices: Any, training: bool | None = None) -> Any:
        check_indices(indices, inputs)
        held = self.rows(indices)
        if training:
            self._take_in(ops.stop_gradient(inputs), indices)
        return held

    def rows(self, indices: Any) -> Any:
        """The entries of examples.

        Args:
            indices: integers of any shape, from 0 to `size - 1`.

        Returns:
            Tensor of the indices' shape and `(dim,)`.
        """
        return ops.take(self.embeddings, ops.cast(indices, "int32"), axis=0)

    def _take_in(self, embeddings: Any, indices: Any) -> None:
        embeddings = distribute.all_gather(ops.cast(embeddings, self.variable_dtype))
        indices = distribute.all_gather(ops.cast(indices, "int32"))
        # The order in which equal indices are written is not defined: the rows of one index all
        # become those of the last.
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
        """Return the constructor's arguments."""
        arguments = {"size": self.size, "momentum": self.momentum, "seed": self.seed}
        return {**super().get_config(), **arguments}


def check_indices(indices: Any, inputs: Any) -> None:
    """Raise unless `indices` holds one integer for each row of `inputs`.

    Args:
        indices: tensor or array.
        inputs: `(batch, dim)`.

    Raises:
        TypeError: if they are not integers.
        ValueError: if they are not of shape `(batch,)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.memory.memory_bank import check_indices
    >>> check_indices(np.array([7, 2]), np.zeros((2, 8)))
    """
    if not hasattr(indices, "dtype") or not hasattr(indices, "shape"):
        indices = ops.convert_to_tensor(indices)
    dtype = keras.backend.standardize_dtype(indices.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise TypeError(f"`indices` must hold integers. Received: indices.dtype={dtype}")
    sizes = (*tuple(indices.shape), inputs.shape[0])
    # an unknown size (None) may be any size
    if len(sizes) != 2 or (None not in sizes and sizes[0] != sizes[1]):
        raise ValueError(
            "`indices` must hold one integer for each row of `inputs`. "
            f"Received: indices.shape={tuple(indices.shape)}, inputs.shape={tuple(inputs.shape)}"
        )
