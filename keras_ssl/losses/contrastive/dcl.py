"""DCL: contrastive learning without the positive in the denominator."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._checks import check_views
from keras_ssl.losses.contrastive._contrastive_loss import ContrastiveLoss
from keras_ssl.losses.contrastive._view_similarities import view_similarities


def dcl(z1: Any, z2: Any, temperature: float = 0.1, chunk_size: int | None = None) -> Any:
    """Decoupled contrastive loss, one value an anchor.

    NT-Xent whose denominator leaves out the positive. With s the cosine similarity, τ the
    temperature and j the other view of the example of i:

        l(i) = -s(i, j) / τ + log Σ_{k ∉ {i, j}} exp(s(i, k) / τ)

    where k runs over both views of all other examples of all replicas. In NT-Xent, a positive
    that is already close makes the gradient of all negatives small, the more so the
    smaller the batch; here it does not. Values may be below 0.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point. Need not be normalised.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        temperature: τ, above 0.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good size. There
            are no second derivatives then.

    Returns:
        Tensor of shape `(2 * n,)`: the losses with the rows of `z1` as anchors, then those with
        the rows of `z2`. At least float32. 0 where a batch of unknown size turns out to hold a
        single example.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, if the batch over all replicas
            holds a single example, if `temperature` is not finite and above 0, or `chunk_size`
            below 1.
        TypeError: if a view is not floating-point, `temperature` not a number, or `chunk_size`
            not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> values = losses.dcl(z, z, temperature=0.5)
    >>> [round(float(value), 4) for value in values]  # -2 + log(2)
    [-1.3069, -1.3069, -1.3069, -1.3069]

    Reference:
        - [Yeh et al., Decoupled Contrastive Learning](https://arxiv.org/abs/2110.06848)
    """
    checks.positive("temperature", temperature)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    check_views(z1, z2)
    positives, negatives = view_similarities(z1, z2, temperature, chunk_size)
    return decoupled(positives, negatives)


def decoupled(positives: Any, negatives: Any) -> Any:
    """`negatives - positives`, or 0 where the only example has no negatives.

    Args:
        positives: `(2 * n,)`, similarities to the other views, weighted or not.
        negatives: `(2 * n,)`, as `view_similarities` gives them.

    Returns:
        Tensor of shape `(2 * n,)`.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.losses.contrastive.dcl import decoupled
    >>> [float(value) for value in decoupled(ops.ones((4,)), 3 * ops.ones((4,)))]
    [2.0, 2.0, 2.0, 2.0]
    """
    values = negatives - positives
    anchors = ops.shape(negatives)[0] * distribute.replica_count()
    if isinstance(anchors, int):
        return values  # view_similarities has seen that there are several examples
    return ops.where(anchors > 2, values, ops.zeros_like(values))


@keras.saving.register_keras_serializable(package="keras_ssl")
class DCL(ContrastiveLoss):
    """Decoupled contrastive loss: NT-Xent without the positive in the denominator.

    Made for `keras_ssl.trainers.SimCLR` with small batches. See `keras_ssl.losses.dcl` for the
    formula.

    Embeddings are normalised inside, and the computation is in float32 under mixed precision.
    Under a `tf.distribute` strategy the negatives are those of all replicas. As with every Keras
    loss, the value is then divided by the number of replicas.

    Args:
        temperature: float above 0.
        chunk_size: `None` stores the matrix of all similarities. An integer computes it in tiles
            of at most `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good
            size.
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
        ValueError: if `temperature` is not finite and above 0, `chunk_size` below 1, the shapes
            are not two equal `(batch, dim)`, or the batch over all replicas holds a single
            example.
        TypeError: if a view is not floating-point, `temperature` not a number, or `chunk_size`
            not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> round(float(losses.DCL(temperature=0.5)(z, z)), 4)  # -2 + log(2)
    -1.3069

    Reference:
        - [Yeh et al., Decoupled Contrastive Learning](https://arxiv.org/abs/2110.06848)
    """

    def __call__(self, z1: Any, z2: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of two views."""
        # before Keras casts, which would hide integers
        check_views(z1, z2)
        return super().__call__(z1, z2, sample_weight=sample_weight)

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the values of the anchors, before the reduction."""
        return dcl(z1, z2, self.temperature, self.chunk_size)
