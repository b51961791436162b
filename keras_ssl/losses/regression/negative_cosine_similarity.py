"""Negative cosine similarity, the loss of SimSiam and BYOL."""

from typing import Any

import keras
from keras import ops

from keras_ssl.losses._checks import check_views
from keras_ssl.losses.regression._base import NAMES, VectorRegressionLoss
from keras_ssl.ops import l2_normalize


def negative_cosine_similarity(predictions: Any, targets: Any) -> Any:
    """Negative cosine similarity, one value per example.

    With p_i a prediction and z_i its target:

        l(i) = -(p_i / ||p_i||) · (z_i / ||z_i||)

    Gradients flow to both. SimSiam and BYOL stop the gradient of the targets, without which they
    collapse: pass `keras.ops.stop_gradient(targets)`. BYOL's squared distance of normalised
    vectors is `2 + 2 * l`.

    Args:
        predictions: `(n, dim)`, floating-point. Normalised here.
        targets: `(n, dim)`; row i belongs to row i of `predictions`. Normalised here.

    Returns:
        Tensor of shape `(n,)` between -1 and 1, at least float32. A row of zeros has the value 0
        and a zero gradient.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`.
        TypeError: if an input is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> p, z = np.array([[1, 0], [3, 4]], "float32"), np.array([[2, 0], [4, 3]], "float32")
    >>> [round(float(value), 4) for value in losses.negative_cosine_similarity(p, z)]
    [-1.0, -0.96]

    Reference:
        - [Chen & He, Exploring Simple Siamese Representation
          Learning](https://arxiv.org/abs/2011.10566)
        - [Grill et al., Bootstrap Your Own Latent](https://arxiv.org/abs/2006.07733)
    """
    check_views(predictions, targets, NAMES)
    return -ops.sum(l2_normalize(predictions) * l2_normalize(targets), axis=-1)


@keras.saving.register_keras_serializable(package="keras_ssl")
class NegativeCosineSimilarity(VectorRegressionLoss):
    """Negative cosine similarity of predictions and targets, the loss of SimSiam and BYOL.

    See `keras_ssl.losses.negative_cosine_similarity` for the formula, errors and references.
    `keras.losses.CosineSimilarity` computes the same for ordinary embeddings. But it gives a row
    of zeros a gradient of millions, a row with entries beyond 1e19 the value 0, and broadcasts
    incompatible shapes, which would go unnoticed when a network collapses or overflows.

    Stop the gradient of the targets where the method does: SimSiam does, a momentum teacher has
    none.

    Args:
        reduction, name, dtype: as in `keras.losses.Loss`; the default dtype is at least float32.

    Call arguments:
        predictions: `(batch, dim)`, floating-point.
        targets: `(batch, dim)`; row i belongs to row i of `predictions`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_ssl import losses
    >>> p, z = np.array([[1, 0], [3, 4]], "float32"), np.array([[2, 0], [4, 3]], "float32")
    >>> loss = losses.NegativeCosineSimilarity()
    >>> round(float(loss(p, ops.stop_gradient(z))), 4)
    -0.98
    """

    def call(self, predictions: Any, targets: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return negative_cosine_similarity(predictions, targets)
