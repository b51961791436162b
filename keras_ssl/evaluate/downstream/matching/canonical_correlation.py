"""Directions of two spaces of features that are correlated most."""

from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate.downstream._rank import rank_of
from keras_ssl.evaluate.downstream.matching._spaces import check_as_fitted, check_pairs


class CanonicalCorrelation:
    r"""Canonical correlation analysis: a shared space of two spaces of any widths, from pairs.

    `fit` finds directions u of the first space and v of the second whose projections are correlated
    most, then further ones that are uncorrelated with those before. With the covariances
    $\Sigma$ of the pairs, d dimensions, and the regularization r,

    $$\max_{u, v} u^\top \Sigma_{12} v \quad \text{where} \quad
    u^\top \tilde\Sigma_{11} u = v^\top \tilde\Sigma_{22} v = 1, \qquad
    \tilde\Sigma = (1 - r)\, \Sigma + r\, \frac{\operatorname{tr} \Sigma}{d} I$$

    by singular value decompositions in float64. Without regularization, features that are many
    beside the number of pairs are correlated by chance: with as many dimensions as pairs,
    perfectly. So look at `correlations_of` pairs that `fit` has not seen.

    Args:
        components: number of directions. `None` means as many as there can be.
        regularization: r, from 0, plain canonical correlation, to 1, partial least squares by a
            singular value decomposition, which finds directions of the largest covariance.

    Attributes:
        correlations: correlation of the projections of the pairs in `fit`, an array
            `(components,)`. Without regularization, these are the canonical correlations, from the
            largest to the smallest.
        first_directions: array `(first dimensions, components)`, after `fit`.
        second_directions: array `(second dimensions, components)`, after `fit`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; from `fit`, if features are not finite, of
            different numbers, do not vary, there are fewer pairs than `components` + 1, or, without
            regularization, features of a space depend on each other or there are no more pairs than
            dimensions of both spaces together; from the projections, before `fit` or if features
            have another width.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.normal(size=(500, 1))
    >>> first = np.hstack([rng.normal(size=(500, 2)), shared])
    >>> second = np.hstack([-2 * shared, rng.normal(size=(500, 1))])
    >>> analysis = evaluate.CanonicalCorrelation().fit(first, second)
    >>> bool(analysis.correlations[0] > 0.999), bool(analysis.correlations[1] < 0.2)
    (True, True)
    >>> analysis.transform_first(first).shape, analysis.transform_second(second).shape
    ((500, 2), (500, 2))

    Reference:
        - [Hotelling, Relations Between Two Sets of Variates](https://doi.org/10.1093/biomet/28.3-4.321)
        - [Vinod, Canonical Ridge and Econometrics of Joint Production](
          https://doi.org/10.1016/0304-4076(76)90010-5), the regularization
    """

    def __init__(self, components: int | None = None, regularization: float = 0.0):
        if components is not None:
            components = checks.integer("components", components, minimum=1)
        self.components = components
        self.regularization = checks.number("regularization", regularization, minimum=0, maximum=1)
        self.correlations: np.ndarray | None = None
        self.first_directions: np.ndarray | None = None
        self.second_directions: np.ndarray | None = None

    def fit(self, first: Any, second: Any) -> "CanonicalCorrelation":
        """Find the directions from pairs of features.

        Args:
            first: features `(pairs, first dimensions)`.
            second: features `(pairs, second dimensions)`; row i belongs to row i of `first`.

        Returns:
            This object.
        """
        first, second = check_pairs(first, second)
        components = self._components_of(first, second)
        means = first.mean(axis=0), second.mean(axis=0)
        (a, of_a), (b, of_b) = (
            self._whiten(one - mean) for one, mean in zip((first, second), means, strict=True)
        )
        u, _, v = np.linalg.svd(a.T @ b, full_matrices=False)
        self._means = means
        self.first_directions = of_a @ u[:, :components]
        self.second_directions = of_b @ v[:components].T
        self.correlations = self.correlations_of(first, second)
        return self

    def transform_first(self, first: Any) -> np.ndarray:
        """Project features of the first space into the shared one.

        Args:
            first: features `(examples, first dimensions)`.

        Returns:
            float64 array `(examples, components)`.
        """
        width = None if self.first_directions is None else len(self.first_directions)
        first = check_as_fitted(first, width, "first")
        return (first - self._means[0]) @ self.first_directions

    def transform_second(self, second: Any) -> np.ndarray:
        """Project features of the second space into the shared one.

        Args:
            second: features `(examples, second dimensions)`.

        Returns:
            float64 array `(examples, components)`.
        """
        width = None if self.second_directions is None else len(self.second_directions)
        second = check_as_fitted(second, width, "second")
        return (second - self._means[1]) @ self.second_directions

    def correlations_of(self, first: Any, second: Any) -> np.ndarray:
        """Compute the correlations of the projections of pairs, such as those held out.

        Args:
            first: features `(pairs, first dimensions)`, at least 2 pairs.
            second: features `(pairs, second dimensions)`.

        Returns:
            Array `(components,)`, from -1 to 1; 0 where a projection does not vary.
        """
        first, second = check_pairs(first, second)
        if len(first) < 2:
            raise ValueError("A correlation needs at least 2 pairs. Received: 1")
        a, b = self.transform_first(first), self.transform_second(second)
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
        correlations = np.zeros_like(lengths)
        np.divide(np.sum(a * b, axis=0), lengths, correlations, where=lengths > 0)
        return np.clip(correlations, -1, 1)

    def _components_of(self, first: np.ndarray, second: np.ndarray) -> int:
        """Return the number of directions; raise if these pairs do not tell them."""
        count, widths = len(first), (first.shape[1], second.shape[1])
        if self.regularization == 0 and count <= sum(widths):
            raise ValueError(
                "Without regularization there must be more pairs than dimensions of both spaces "
                "together, as features are correlated by chance: pass `regularization` above 0, "
                "or take more pairs. "
                f"Received: {count} pairs of {widths[0]} and {widths[1]} dimensions"
            )
        most = min(*widths, count - 1)
        components = most if self.components is None else self.components
        if components > most or most == 0:
            raise ValueError(
                "`components` must be at most the number of dimensions of each space, and below "
                f"that of pairs. Received: components={self.components}, {count} pairs of "
                f"{widths[0]} and {widths[1]} dimensions"
            )
        for name, one in (("first", first), ("second", second)):
            rank = rank_of(one)
            if rank == 0:
                raise ValueError(f"`{name}` must vary. Received: {count} equal rows")
            if self.regularization == 0 and rank < one.shape[1]:
                raise ValueError(
                    f"Without regularization, columns of `{name}` must not depend on each other: "
                    "pass `regularization` above 0, or leave some out. "
                    f"Received: rank {rank} of {one.shape[1]} dimensions"
                )
        return components

    def _whiten(self, centered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return features whitened by the regularized covariance, and the matrix that does it."""
        u, s, v = np.linalg.svd(centered / np.sqrt(len(centered) - 1), full_matrices=False)
        r, trace = self.regularization, np.sum(s**2)
        lengths = np.sqrt((1 - r) * s**2 + r * trace / centered.shape[1])
        return u * (s / lengths), v.T / lengths
