"""Independent components of features, and how well they agree with known sources."""

from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._forward import check_features
from keras_ssl.evaluate.downstream._rank import rank_of


def independent_components(
    features: Any,
    components: int | None = None,
    contrast: str = "logcosh",
    iterations: int = 1000,
    seed: int = 0,
) -> Any:
    r"""Fit linear independent component analysis to features, by scikit-learn's `FastICA`.

    Features are whitened and rotated by W so that the components

    $$s = W (f - \mu)$$

    are as far from normal as they can be, each with variance 1. Their order and signs mean nothing.

    Args:
        features: array `(examples, dimensions)`, more examples than `components`.
        components: number of components, at most the rank of the features, whose largest principal
            components are then rotated. `None` means as many as dimensions.
        contrast: what measures the distance from a normal distribution: `"logcosh"`, `"exp"`,
            robust for heavy tails, or `"cube"`, the kurtosis.
        iterations: largest number of iterations. If they do not suffice, scikit-learn warns.
        seed: seed of the first rotation.

    Returns:
        A fitted `sklearn.decomposition.FastICA`: `transform(features)` gives the components
        `(examples, components)` of these or other features, `inverse_transform` features of
        components, and `mixing_` is the matrix of the latter.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if features are not finite, their rank is below `components`, `contrast` is
            not one of these, or a number is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> sources = np.random.default_rng(0).laplace(size=(2000, 2))
    >>> mixtures = sources @ np.array([[1.0, 0.5], [0.7, 1.0]])
    >>> ica = evaluate.independent_components(mixtures)
    >>> found = ica.transform(mixtures)
    >>> evaluate.mean_correlation_coefficient(sources, found) > 0.99
    True

    Reference:
        [Hyvärinen, Fast and Robust Fixed-Point Algorithms for Independent Component Analysis](
        https://doi.org/10.1109/72.761722)
    """
    from sklearn.decomposition import FastICA

    iterations = checks.integer("iterations", iterations, minimum=1)
    seed = checks.integer("seed", seed, minimum=0)
    if contrast not in ("logcosh", "exp", "cube"):
        raise ValueError(
            f"`contrast` must be 'logcosh', 'exp' or 'cube'. Received: contrast={contrast!r}"
        )
    features = check_features(features, "features", dtype="float64")
    if components is None:
        components = features.shape[1]
    components = checks.integer("components", components, minimum=1)
    rank = rank_of(features)
    if components > rank:
        raise ValueError(
            "`components` must be at most the rank of `features` around their mean; pass a smaller "
            f"number. Received: components={components} and rank {rank} of features of shape "
            f"{features.shape}"
        )
    ica = FastICA(
        components,
        fun=contrast,
        max_iter=iterations,
        whiten="unit-variance",
        random_state=seed,
    )
    return ica.fit(features)


def mean_correlation_coefficient(
    sources: Any, estimates: Any, correlation: str = "pearson"
) -> float:
    r"""Compute how well estimates agree with sources, whatever their order, signs and scales.

    Each source gets an estimate of its own, in the way that is best on the whole (the Hungarian
    algorithm, by SciPy):

    $$\mathrm{MCC} = \frac{1}{d} \max_\pi \sum_{i=1}^{d}
    \bigl\lvert \operatorname{corr}(s_i, \hat{s}_{\pi(i)}) \bigr\rvert$$

    Args:
        sources: true sources, array `(examples, sources)`; a vector is one source.
        estimates: estimates of them, array `(examples, estimates)`. There may be more than
            sources: those that are not needed are left out.
        correlation: `"pearson"`, or `"spearman"`, which compares ranks and so does not change under
            increasing functions of each estimate.

    Returns:
        Mean absolute correlation, from 0 to 1.

    Raises:
        ValueError: if arrays are not finite, their numbers of examples differ or are below 2, there
            are fewer estimates than sources, a column is constant, or `correlation` is not one of
            these.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> sources = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, -4.0], [3.0, 9.0]])
    >>> evaluate.mean_correlation_coefficient(sources, [-1.0, 5.0] * sources[:, ::-1])
    1.0

    Reference:
        [Hyvärinen and Morioka, Unsupervised Feature Extraction by Time-Contrastive Learning and
        Nonlinear ICA](https://arxiv.org/abs/1605.06336), section 6
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.stats import rankdata

    if correlation not in ("pearson", "spearman"):
        raise ValueError(
            f"`correlation` must be 'pearson' or 'spearman'. Received: correlation={correlation!r}"
        )
    sources, estimates = _columns(sources, "sources"), _columns(estimates, "estimates")
    if len(sources) != len(estimates) or len(sources) < 2:
        raise ValueError(
            "`sources` and `estimates` must hold the same examples, at least 2. "
            f"Received: {len(sources)} and {len(estimates)} examples"
        )
    if estimates.shape[1] < sources.shape[1]:
        raise ValueError(
            "`estimates` must hold at least one estimate for each source. "
            f"Received: {estimates.shape[1]} estimates and {sources.shape[1]} sources"
        )
    if correlation == "spearman":
        sources, estimates = rankdata(sources, axis=0), rankdata(estimates, axis=0)
    correlations = np.abs(_standardized(sources).T @ _standardized(estimates))
    best = correlations[linear_sum_assignment(correlations, maximize=True)].mean()
    return float(np.clip(best, 0.0, 1.0))


def _columns(values: Any, name: str) -> np.ndarray:
    """Return finite columns that are not constant, in float64, or raise."""
    values = np.asarray(values)
    columns = check_features(values[:, None] if values.ndim == 1 else values, name, dtype="float64")
    constant = np.flatnonzero(np.ptp(columns, axis=0) == 0)
    if constant.size:
        raise ValueError(
            f"The columns of `{name}` must vary, as a constant has no correlation. "
            f"Received: {constant.size} constant of {columns.shape[1]} columns, the first of which "
            f"is column {constant[0]}"
        )
    return columns


def _standardized(columns: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and length 1."""
    centered = columns - columns.mean(axis=0)
    centered /= np.abs(centered).max(axis=0)  # squares of huge or tiny numbers are no floats
    return centered / np.linalg.norm(centered, axis=0)
