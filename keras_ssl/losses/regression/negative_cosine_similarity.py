"""The loss of SimSiam and BYOL: predictions point where targets point."""

from typing import Any

import keras
from keras import ops

from keras_ssl.losses._checks import check_views
from keras_ssl.losses._float32_loss import Float32Loss
from keras_ssl.ops import l2_normalize

NAMES = ("predictions", "targets")


def negative_cosine_similarity(predictions: Any, targets: Any) -> Any:
    """Negative cosine similarity, one value an example.

    With p_i a prediction and z_i its target:

        l(i) = -(p_i / ||p_i||) · (z_i / ||z_i||)

    Gradients flow to both. SimSiam and BYOL stop that of the targets, without which they
    collapse: pass `keras.ops.stop_gradient(targets)`. BYOL's squared distance of normalised
    vectors is `2 + 2 * l`.

    Args:
        predictions: `(n, dim)`, floating-point. Need not be normalised.
        targets: `(n, dim)`; row i belongs to row i of `predictions`.

    Returns:
        Tensor of shape `(n,)` between -1 and 1, at least float32. A row of zeros has similarity
        0 with everything, and a gradient of 0.

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
class NegativeCosineSimilarity(Float32Loss):
    """Negative cosine similarity of predictions and targets, the loss of SimSiam and BYOL.

    See `keras_ssl.losses.negative_cosine_similarity` for the formula.
    `keras.losses.CosineSimilarity` computes it too where all is well, but gives a row of zeros a
    gradient of millions and a row with entries beyond 1e19 the value 0, and broadcasts two shapes
    that do not belong together. Where a network may collapse or runs in float16, none of these
    may pass in silence.

    Stopping the gradient of the targets is the caller's part, as it belongs to the method: SimSiam
    stops it, a momentum teacher has none to stop.

    Args:
        reduction: as in `keras.losses.Loss`; the default is the mean over the examples.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        predictions: `(batch, dim)`, floating-point.
        targets: `(batch, dim)`; row i belongs to row i of `predictions`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        A scalar, or the `(batch,)` values of the examples with `reduction=None`.

    Raises:
        ValueError: if the shapes are not two equal `(batch, dim)`.
        TypeError: if an input is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_ssl import losses
    >>> p, z = np.array([[1, 0], [3, 4]], "float32"), np.array([[2, 0], [4, 3]], "float32")
    >>> loss = losses.NegativeCosineSimilarity()
    >>> round(float(loss(p, ops.stop_gradient(z))), 4)
    -0.98

    Reference:
        - [Chen & He, Exploring Simple Siamese Representation
          Learning](https://arxiv.org/abs/2011.10566)
        - [Grill et al., Bootstrap Your Own Latent](https://arxiv.org/abs/2006.07733)
    """

    def __call__(self, predictions: Any, targets: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of predictions and targets."""
        # before Keras casts, which would hide integers
        check_views(predictions, targets, NAMES)
        return super().__call__(predictions, targets, sample_weight=sample_weight)

    def call(self, predictions: Any, targets: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return negative_cosine_similarity(predictions, targets)
