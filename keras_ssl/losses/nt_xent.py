"""NT-Xent: the contrastive loss of SimCLR."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import distribute
from keras_ssl.layers.l2_normalize import l2_normalize
from keras_ssl.losses.check_temperature import check_temperature
from keras_ssl.losses.check_views import check_views


def nt_xent(z1: Any, z2: Any, temperature: float = 0.1) -> Any:
    """Normalised temperature-scaled cross entropy, one value an anchor.

    Of N examples there are 2N embeddings, and each is an anchor once. With s the cosine
    similarity, τ the temperature and j the other view of the example of i:

        l(i) = -log( exp(s(i, j) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

    where k runs over all 2N - 1 other embeddings, of both views and of all replicas. Anchors are
    this replica's own 2n; its step holds a `(2n, 2N)` matrix of similarities.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point. Need not be normalised.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        temperature: τ, above 0.

    Returns:
        Tensor of shape `(2 * n,)`: the losses with the rows of `z1` as anchors, then those with
        the rows of `z2`. At least float32, whatever the inputs' dtype.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, if the batch over all replicas
            holds a single example, or if `temperature` is not finite and above 0.
        TypeError: if a view is not floating-point, or `temperature` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(4, dtype="float32")
    >>> tuple(losses.nt_xent(z, z, temperature=0.5).shape)
    (8,)

    Reference:
        - [Chen et al., A Simple Framework for Contrastive Learning of Visual
          Representations](https://arxiv.org/abs/2002.05709)
    """
    check_temperature(temperature)
    check_views(z1, z2)
    z1, z2 = l2_normalize(z1), l2_normalize(z2)
    examples = z1.shape[0]
    if examples is not None and examples * distribute.replica_count() < 2:
        raise ValueError(
            "A contrastive loss needs negatives: `z1` and `z2` must hold at least 2 examples over "
            f"all replicas. Received: z1.shape={tuple(z1.shape)}"
        )
    anchors = ops.concatenate([z1, z2], axis=0)
    # replica after replica, each with its first views and then its second ones
    candidates = distribute.all_gather(anchors)
    logits = ops.matmul(anchors, ops.transpose(candidates)) / temperature

    count, total = ops.shape(logits)[0], ops.shape(logits)[1]
    rows, columns = ops.arange(count, dtype="int32"), ops.arange(total, dtype="int32")
    first = distribute.replica_index() * count
    # an anchor is no candidate of itself; the lowest finite number is 0 after exp
    lowest = float(np.finfo(keras.backend.standardize_dtype(logits.dtype)).min)
    is_itself = ops.equal((first + rows)[:, None], columns[None, :])
    logits = ops.where(is_itself, lowest, logits)

    # The positive's value is one of the logits, so that however a device rounds in matmul (TF32,
    # bfloat16), it is among the candidates and the loss not below 0. Its gradient takes the direct
    # road: one through the look-up would need another matrix, and a third more time.
    other_view = first + (rows + count // 2) % count
    looked_up = ops.take(ops.reshape(ops.stop_gradient(logits), (-1,)), rows * total + other_view)
    direct = ops.tile(ops.sum(z1 * z2, axis=-1) / temperature, [2])
    positive = looked_up + (direct - ops.stop_gradient(direct))
    return ops.logsumexp(logits, axis=-1) - positive


@keras.saving.register_keras_serializable(package="keras_ssl")
class NTXent(keras.losses.Loss):
    """Normalised temperature-scaled cross entropy of two views, the loss of SimCLR.

    Pulls the two embeddings of an example together and pushes them from the other 2N - 2
    embeddings of the batch. See `keras_ssl.losses.nt_xent` for the formula.

    Embeddings are normalised inside, and the computation is in float32 under mixed precision.
    Under a `tf.distribute` strategy the candidates are those of all replicas. As with
    every Keras loss, the value is then divided by the number of replicas, so that the
    replicas' values and gradients add up to those of the global batch.

    Args:
        temperature: float above 0. Low values weigh the nearest negatives most.
        reduction: as in `keras.losses.Loss`; the default is the mean over the anchors.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        z1: embeddings of the first views, `(batch, dim)`, floating-point.
        z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.
        sample_weight: optional weights of the anchors, `(2 * batch,)`: first those of `z1`.

    Returns:
        A scalar, or the `(2 * batch,)` values of the anchors with `reduction=None`.

    Raises:
        ValueError: if `temperature` is not finite and above 0, the shapes are not two equal
            `(batch, dim)`, or the batch over all replicas holds a single example.
        TypeError: if a view is not floating-point, or `temperature` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.NTXent(temperature=0.5)
    >>> z = np.eye(4, dtype="float32")
    >>> round(float(loss(z, z)), 4)  # -log(e^2 / (e^2 + 6))
    0.5944
    >>> round(float(loss(z, z[::-1])), 4)  # the embedding like the anchor's is now a negative
    2.5944

    Reference:
        - [Chen et al., A Simple Framework for Contrastive Learning of Visual
          Representations](https://arxiv.org/abs/2002.05709)
    """

    def __init__(
        self,
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "nt_xent",
        dtype: str | None = None,
    ):
        check_temperature(temperature)
        if dtype is None:
            dtype = keras.backend.result_type(keras.config.floatx(), "float32")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = float(temperature)

    def __call__(self, z1: Any, z2: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of two views."""
        # before Keras casts, which would hide integers
        check_views(z1, z2)
        return super().__call__(z1, z2, sample_weight=sample_weight)

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the values of the anchors, before the reduction."""
        return nt_xent(z1, z2, self.temperature)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "temperature": self.temperature, "dtype": self.dtype}
