"""The rotation of one space of features into another."""

from typing import Any

import numpy as np

from keras_ssl.evaluate._units import check_widths
from keras_ssl.evaluate.downstream.matching._spaces import check_as_fitted, check_pairs


class ProcrustesAlignment:
    r"""Orthogonal map of one space of features into another of the same width, learned from pairs.

    With pairs (a, b), whose means are α and β, `fit` finds the rotation or reflection R, and with
    `scale=True` the factor c,

    $$\min_{R^\top R = I} \sum_i \lVert c\,(a_i - \alpha) R + \beta - b_i \rVert^2$$

    by `scipy.linalg.orthogonal_procrustes`. Distances and angles within a space stay as they are,
    so that it fits spaces that differ in their axes only, such as those of two runs of a method or
    of the words of two languages, and needs few pairs.

    Args:
        scale: whether to learn a factor c too. Without it c = 1.

    Attributes:
        rotation: R, an array `(dimensions, dimensions)`, after `fit`.
        factor: c, after `fit`.

    Raises:
        ValueError: from `fit`, if features are not finite, of different numbers or widths, do not
            vary, or there are no more pairs than dimensions; from the maps, before `fit` or if
            features have another width.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> first = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> second = first @ [[0.0, 1.0], [-1.0, 0.0]] + 5.0  # turned by 90 degrees and moved
    >>> alignment = evaluate.ProcrustesAlignment().fit(first, second)
    >>> np.round(alignment.transform([[1.0, 0.0]]), 6)
    array([[5., 6.]])

    Reference:
        - [Schönemann, A Generalized Solution of the Orthogonal Procrustes Problem](
          https://doi.org/10.1007/BF02289451)
        - [Smith et al., Offline Bilingual Word Vectors, Orthogonal Transformations and the Inverted
          Softmax](https://arxiv.org/abs/1702.03859)
    """

    def __init__(self, scale: bool = False):
        self.scale = bool(scale)
        self.rotation: np.ndarray | None = None
        self.factor = 1.0

    def fit(self, first: Any, second: Any) -> "ProcrustesAlignment":
        """Learn the map from pairs of features.

        Args:
            first: features `(pairs, dimensions)`, more pairs than dimensions.
            second: features of the same shape; row i belongs to row i of `first`.

        Returns:
            This object.
        """
        from scipy.linalg import orthogonal_procrustes

        first, second = check_pairs(first, second)
        check_widths(first, second, ("first", "second"))
        count, width = first.shape
        if count <= width:
            raise ValueError(
                "A rotation needs more pairs than dimensions: take more pairs, or fewer dimensions "
                f"by `sklearn.decomposition.PCA`. Received: {count} pairs of {width} dimensions"
            )
        means = first.mean(axis=0), second.mean(axis=0)
        a, b = first - means[0], second - means[1]
        for name, centered in (("first", a), ("second", b)):
            if not centered.any():
                raise ValueError(f"`{name}` must vary. Received: {count} equal rows")
        rotation, total = orthogonal_procrustes(a, b)
        self._means = means
        self.rotation = rotation
        self.factor = float(total / np.sum(a**2)) if self.scale else 1.0
        return self

    def transform(self, first: Any) -> np.ndarray:
        """Map features of the first space into the second.

        Args:
            first: features `(examples, dimensions)`.

        Returns:
            float64 array of the same shape.
        """
        first = check_as_fitted(first, self._width, "first")
        return self.factor * (first - self._means[0]) @ self.rotation + self._means[1]

    def inverse_transform(self, second: Any) -> np.ndarray:
        """Map features of the second space into the first.

        Args:
            second: features `(examples, dimensions)`.

        Returns:
            float64 array of the same shape.
        """
        second = check_as_fitted(second, self._width, "second")
        return (second - self._means[1]) @ self.rotation.T / self.factor + self._means[0]

    @property
    def _width(self) -> int | None:
        return None if self.rotation is None else len(self.rotation)
