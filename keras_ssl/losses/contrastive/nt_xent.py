"""NT-Xent, the contrastive loss of SimCLR."""

from typing import Any

import keras
from keras import ops

from keras_ssl.losses.contrastive._base import TwoViewLoss, view_similarities


def nt_xent(z1: Any, z2: Any, temperature: Any = 0.1, chunk_size: int | None = None) -> Any:
    """Normalised temperature-scaled cross entropy, one value per anchor.

    N examples have 2N embeddings, each of which is an anchor once. With s the cosine similarity,
    τ the temperature and j the other view of the example of i:

        l(i) = -log( exp(s(i, j) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

    where k runs over the 2N - 1 other embeddings of both views and all replicas. The anchors are
    the 2n embeddings of this replica.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point. They are normalised here.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient.
        chunk_size: `None` stores the `(2 * n, 2 * N)` matrix of similarities. An integer computes
            it in tiles of at most `(chunk_size, chunk_size)` that are not kept, with the same
            value and gradient but without second derivatives; 2048 is a good size.

    Returns:
        Tensor of shape `(2 * n,)`, at least float32: the losses of the anchors in `z1`, then of
        those in `z2`.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, the global batch holds a single
            example, or an argument is out of range.
        TypeError: if a view is not floating-point, or an argument has the wrong type.

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
    positives, negatives = view_similarities(z1, z2, temperature, chunk_size)
    # log(exp(positive) + exp(negatives)) - positive, which no rounding of matmul (TF32, bfloat16)
    # can bring below 0
    return ops.softplus(negatives - positives)


@keras.saving.register_keras_serializable(package="keras_ssl")
class NTXent(TwoViewLoss):
    """Normalised temperature-scaled cross entropy of two views, the loss of SimCLR.

    Attracts the two embeddings of an example and repels the other 2N - 2 embeddings of the batch.
    See `keras_ssl.losses.nt_xent` for the formula, errors and reference.

    Embeddings are normalised inside, and the computation is in float32 under mixed precision.
    Under a `tf.distribute` strategy the negatives are those of all replicas, and the value is
    divided by the number of replicas, as with every Keras loss, so that values and gradients of
    the replicas sum to those of the global batch.

    Args:
        temperature: float above 0. Low values put the weight on the nearest negatives. Or a
            schedule by training steps, such as `keras.optimizers.schedules.CosineDecay(0.5, steps,
            alpha=0.2)`: trainers tell the loss the step; for a plain Keras model, see `follow`.
        chunk_size: `None` stores the matrix of similarities, which is quadratic in the batch
            size. An integer computes it in tiles of at most `(chunk_size, chunk_size)`, with the
            same value and gradient in memory that is linear in the batch size; 2048 is a good
            size.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        z1: embeddings of the first views, `(batch, dim)`, floating-point.
        z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.
        sample_weight: optional weights of the anchors, `(2 * batch,)`, those of `z1` first.

    Returns:
        The mean over the anchors, or their `(2 * batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(4, dtype="float32")
    >>> loss = losses.NTXent(temperature=0.5)
    >>> round(float(loss(z, z)), 4)  # -log(e^2 / (e^2 + 6))
    0.5944
    >>> round(float(loss(z, z[::-1])), 4)  # the embedding equal to the anchor is now a negative
    2.5944
    >>> round(float(losses.NTXent(temperature=0.5, chunk_size=3)(z, z)), 4)
    0.5944
    """

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the values of the anchors, before the reduction."""
        return nt_xent(z1, z2, self.value_now("temperature"), self.chunk_size)
