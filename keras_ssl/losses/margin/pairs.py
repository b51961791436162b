"""Margins of pairs: two scores to rank, or two embeddings that are similar or not.

A Keras loss gets one tensor of predictions, so that the members of a pair are stacked along axis 1,
as `ops.stack([first, second], axis=1)`, which is how `keras_ssl.losses.SupConLoss` takes views.
"""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._supervised import (
    SupervisedLoss,
    check_signs,
    check_stack,
    row_signs,
)
from keras_ssl.losses.margin._distances import norms
from keras_ssl.ops import at_least_float32, l2_normalize


class PairLoss(SupervisedLoss):
    """Base of the losses of pairs of embeddings.

    Args:
        **kwargs: `reduction`, `name`, `dtype`, as of `keras.losses.Loss`.
    """

    def check(self, y_true: Any, y_pred: Any) -> None:
        """Raise an error unless there is a label for each pair of embeddings."""
        _check_embeddings(y_true, y_pred)


def _check_embeddings(y_true: Any, y_pred: Any) -> None:
    check_stack(y_pred, 2, True, "the two embeddings of each pair")
    check_signs(y_true, y_pred)


def _check_scores(y_true: Any, y_pred: Any) -> None:
    check_stack(y_pred, 2, False, "the two scores of each pair")
    check_signs(y_true, y_pred)


def margin_ranking(y_true: Any, y_pred: Any, margin: float = 0.0) -> Any:
    """Hinge loss of the order of two scores, one value per pair.

    With scores s_1 and s_2 and m the margin:

        l = max(0, m - y (s_1 - s_2))

    Args:
        y_true: 1 where the first score should be higher, -1 or 0 where the second should, `(n,)`
            or `(n, 1)`.
        y_pred: the two scores of each pair, `(n, 2)`, floating-point.
        margin: m, at least 0.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes do not fit, or `margin` is negative.
        TypeError: if `y_pred` are not floating-point, or `margin` is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[2.0, 1.0], [2.0, 1.0]])
    >>> losses.margin_ranking(np.array([1, -1]), scores, margin=0.5).numpy().tolist()
    [0.0, 1.5]
    """
    margin = checks.number("margin", margin, minimum=0)
    _check_scores(y_true, y_pred)
    scores = at_least_float32(y_pred)
    return ops.relu(margin - row_signs(y_true, scores) * (scores[:, 0] - scores[:, 1]))


@keras.saving.register_keras_serializable(package="keras_ssl")
class MarginRanking(SupervisedLoss):
    """Hinge loss of the order of two scores, PyTorch's `MarginRankingLoss`.

    See `keras_ssl.losses.margin_ranking` for the formula and errors.

    Args:
        margin: m, a float of at least 0.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: 1 where the first score should be higher, -1 or 0 where the second should,
            `(batch,)` or `(batch, 1)`.
        y_pred: the two scores of each pair, `(batch, 2)`.
        sample_weight: optional weights of the pairs, `(batch,)`.

    Returns:
        The mean over the pairs, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[2.0, 1.0], [2.0, 1.0]])
    >>> float(losses.MarginRanking(margin=0.5)(np.array([1, -1]), scores))
    0.75
    """

    def __init__(self, margin: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.margin = checks.number("margin", margin, minimum=0)

    def check(self, y_true: Any, y_pred: Any) -> None:
        """Raise an error unless there is a label for each pair of scores."""
        _check_scores(y_true, y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the pairs, before the reduction."""
        return margin_ranking(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "margin": self.margin}


def cosine_embedding(y_true: Any, y_pred: Any, margin: float = 0.0) -> Any:
    """Loss of the cosine similarity of two embeddings, one value per pair.

    With c the cosine of the angle between the two and m the margin:

        l = 1 - c  if y = 1,    max(0, c - m)  if y = -1

    Args:
        y_true: 1 for similar, -1 or 0 for dissimilar, `(n,)` or `(n, 1)`.
        y_pred: the two embeddings of each pair, `(n, 2, dim)`, floating-point. An embedding of
            zeros has the cosine 0 with all others, and no gradient.
        margin: m, from -1 to 1.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes do not fit, or `margin` is out of range.
        TypeError: if `y_pred` are not floating-point, or `margin` is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> pair = np.array([[3.0, 4.0], [4.0, 3.0]])  # a cosine of 0.96
    >>> values = losses.cosine_embedding(np.array([1, -1]), np.stack([pair, pair]), margin=0.5)
    >>> [round(float(one), 4) for one in values]
    [0.04, 0.46]
    """
    margin = checks.number("margin", margin, -1, 1)
    _check_embeddings(y_true, y_pred)
    z = l2_normalize(y_pred)
    cosine = ops.sum(z[:, 0] * z[:, 1], axis=-1)
    return ops.where(row_signs(y_true, z) > 0, 1 - cosine, ops.relu(cosine - margin))


@keras.saving.register_keras_serializable(package="keras_ssl")
class CosineEmbedding(PairLoss):
    """Loss of the cosine similarity of two embeddings, PyTorch's `CosineEmbeddingLoss`.

    See `keras_ssl.losses.cosine_embedding` for the formula and errors.

    Args:
        margin: m, a float from -1 to 1; 0 to 0.5 is usual.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: 1 for similar, -1 or 0 for dissimilar, `(batch,)` or `(batch, 1)`.
        y_pred: the two embeddings of each pair, `(batch, 2, dim)`.
        sample_weight: optional weights of the pairs, `(batch,)`.

    Returns:
        The mean over the pairs, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> pair = np.array([[3.0, 4.0], [4.0, 3.0]])
    >>> loss = losses.CosineEmbedding(margin=0.5)
    >>> round(float(loss(np.array([1, -1]), np.stack([pair, pair]))), 4)
    0.25
    """

    def __init__(self, margin: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.margin = checks.number("margin", margin, -1, 1)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the pairs, before the reduction."""
        return cosine_embedding(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "margin": self.margin}


def contrastive_margin(y_true: Any, y_pred: Any, margin: float = 1.0) -> Any:
    """Contrastive loss of Hadsell et al., one value per pair of embeddings.

    With d the Euclidean distance of the two and m the margin:

        l = d² / 2  if y = 1,    max(0, m - d)² / 2  if y = -1

    Args:
        y_true: 1 for similar, -1 or 0 for dissimilar, `(n,)` or `(n, 1)`. The paper's Y is 0 for
            similar.
        y_pred: the two embeddings of each pair, `(n, 2, dim)`, floating-point. Equal embeddings
            get no gradient, as no direction is better than another.
        margin: m, at least 0.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes do not fit, or `margin` is negative.
        TypeError: if `y_pred` are not floating-point, or `margin` is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> pair = np.array([[0.3, 0.4], [0.0, 0.0]])  # a distance of 0.5
    >>> values = losses.contrastive_margin(np.array([1, -1]), np.stack([pair, pair]), margin=2.0)
    >>> [round(float(one), 4) for one in values]
    [0.125, 1.125]

    Reference:
        - [Hadsell et al., Dimensionality Reduction by Learning an Invariant
          Mapping](https://ieeexplore.ieee.org/document/1640964), equation 4
    """
    margin = checks.number("margin", margin, minimum=0)
    _check_embeddings(y_true, y_pred)
    z = at_least_float32(y_pred)
    difference = z[:, 0] - z[:, 1]
    # the square of a root of 0 would lose the gradient of near pairs
    near = ops.sum(ops.square(difference), axis=-1)
    far = ops.square(ops.relu(margin - norms(difference)))
    return 0.5 * ops.where(row_signs(y_true, z) > 0, near, far)


@keras.saving.register_keras_serializable(package="keras_ssl")
class ContrastiveMargin(PairLoss):
    """Contrastive loss of pairs of embeddings, of siamese networks.

    See `keras_ssl.losses.contrastive_margin` for the formula, errors and reference. PyTorch has no
    such loss; with a distance of your own, `keras_ssl.losses.HingeEmbedding` is its relative
    without squares.

    Args:
        margin: m, a float of at least 0.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: 1 for similar, -1 or 0 for dissimilar, `(batch,)` or `(batch, 1)`.
        y_pred: the two embeddings of each pair, `(batch, 2, dim)`.
        sample_weight: optional weights of the pairs, `(batch,)`.

    Returns:
        The mean over the pairs, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> pair = np.array([[0.3, 0.4], [0.0, 0.0]])
    >>> loss = losses.ContrastiveMargin(margin=2.0)
    >>> round(float(loss(np.array([1, 0]), np.stack([pair, pair]))), 4)
    0.625
    """

    def __init__(self, margin: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.margin = checks.number("margin", margin, minimum=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the pairs, before the reduction."""
        return contrastive_margin(y_true, y_pred, self.margin)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "margin": self.margin}
