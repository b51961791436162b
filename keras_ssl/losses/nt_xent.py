"""NT-Xent: the contrastive loss of SimCLR."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import distribute
from keras_ssl.losses.check_views import check_views
from keras_ssl.losses.l2_normalize import l2_normalize


def _check_temperature(temperature: float) -> None:
    # `not >` rather than `<=`: NaN is refused as well
    if not temperature > 0:
        raise ValueError(
            f"`temperature` must be a number above 0. Received: temperature={temperature}"
        )


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
            holds a single example, or if `temperature` is not above 0.
        TypeError: if a view is not floating-point.

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
    _check_temperature(temperature)
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

    count = ops.shape(anchors)[0]
    columns = ops.arange(ops.shape(candidates)[0], dtype="int32")
    own = distribute.replica_index() * count + ops.arange(count, dtype="int32")
    # an anchor is no candidate of itself; the lowest finite number is 0 after exp
    lowest = float(np.finfo(keras.backend.standardize_dtype(logits.dtype)).min)
    logits = ops.where(ops.equal(own[:, None], columns[None, :]), lowest, logits)

    # both views of an example live on one replica, so the positive needs no look-up
    positive = ops.sum(z1 * z2, axis=-1) / temperature
    return ops.logsumexp(logits, axis=-1) - ops.concatenate([positive, positive], axis=0)


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
        ValueError: if `temperature` is not above 0, the shapes are not two equal `(batch, dim)`,
            or the batch over all replicas holds a single example.
        TypeError: if a view is not floating-point.

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
        _check_temperature(temperature)
        if dtype is None:
            dtype = keras.backend.result_type(keras.config.floatx(), "float32")
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.temperature = temperature

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
