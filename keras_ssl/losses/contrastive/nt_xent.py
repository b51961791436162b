"""NT-Xent: the contrastive loss of SimCLR."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import check_views
from keras_ssl.losses.contrastive._contrastive_loss import ContrastiveLoss
from keras_ssl.losses.contrastive._view_similarities import view_similarities


def nt_xent(z1: Any, z2: Any, temperature: float = 0.1, chunk_size: int | None = None) -> Any:
    """Normalised temperature-scaled cross entropy, one value an anchor.

    Of N examples there are 2N embeddings, and each is an anchor once. With s the cosine
    similarity, τ the temperature and j the other view of the example of i:

        l(i) = -log( exp(s(i, j) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

    where k runs over all 2N - 1 other embeddings, of both views and of all replicas. Anchors are
    this replica's own 2n. The step holds a `(2n, 2N)` matrix of similarities, or with
    `chunk_size` no more than a tile of it at a time, see
    `keras_ssl.ops.log_sum_exp_of_similarities`.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point. Need not be normalised.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        temperature: τ, above 0.
        chunk_size: `None` stores the matrix. An integer computes it in tiles of at most
            `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good size. There
            are no second derivatives then.

    Returns:
        Tensor of shape `(2 * n,)`: the losses with the rows of `z1` as anchors, then those with
        the rows of `z2`. At least float32, whatever the inputs' dtype.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, if the batch over all replicas
            holds a single example, if `temperature` is not finite and above 0, or `chunk_size`
            below 1.
        TypeError: if a view is not floating-point, `temperature` not a number, or `chunk_size`
            not an integer.

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
    checks.positive("temperature", temperature)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    check_views(z1, z2)
    positives, negatives = view_similarities(z1, z2, temperature, chunk_size)
    # log(exp(positive) + exp(negatives)) - positive, which no rounding of matmul (TF32, bfloat16)
    # can bring below 0
    return ops.softplus(negatives - positives)


@keras.saving.register_keras_serializable(package="keras_ssl")
class NTXent(ContrastiveLoss):
    """Normalised temperature-scaled cross entropy of two views, the loss of SimCLR.

    Pulls the two embeddings of an example together and pushes them from the other 2N - 2
    embeddings of the batch. See `keras_ssl.losses.nt_xent` for the formula.

    Embeddings are normalised inside, and the computation is in float32 under mixed precision.
    Under a `tf.distribute` strategy the candidates are those of all replicas. As with
    every Keras loss, the value is then divided by the number of replicas, so that the
    replicas' values and gradients add up to those of the global batch.

    Args:
        temperature: float above 0. Low values weigh the nearest negatives most.
        chunk_size: `None` stores the matrix of all similarities, which grows with the square of
            the batch. An integer computes it in tiles of at most `(chunk_size, chunk_size)`,
            which the backward pass makes again: the same value and gradient in memory that
            grows with the batch. 2048 is a good size.
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
    >>> loss = losses.NTXent(temperature=0.5)
    >>> z = np.eye(4, dtype="float32")
    >>> round(float(loss(z, z)), 4)  # -log(e^2 / (e^2 + 6))
    0.5944
    >>> round(float(loss(z, z[::-1])), 4)  # the embedding like the anchor's is now a negative
    2.5944
    >>> round(float(losses.NTXent(temperature=0.5, chunk_size=3)(z, z)), 4)
    0.5944

    Reference:
        - [Chen et al., A Simple Framework for Contrastive Learning of Visual
          Representations](https://arxiv.org/abs/2002.05709)
    """

    def __call__(self, z1: Any, z2: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of two views."""
        # before Keras casts, which would hide integers
        check_views(z1, z2)
        return super().__call__(z1, z2, sample_weight=sample_weight)

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the values of the anchors, before the reduction."""
        return nt_xent(z1, z2, self.temperature, self.chunk_size)
