"""Spectrum and spread of features, the measures of collapse."""

from typing import Any

import numpy as np

from keras_ssl.evaluate._forward import check_features


def effective_rank(features: Any, center: bool = True) -> float:
    r"""Compute the effective rank of features, the number of directions that they use.

    With the singular values $\sigma_i$ of the feature matrix and
    $p_i = \sigma_i / \sum_j \sigma_j$,

    $$\mathrm{erank} = \exp\Big(-\sum_i p_i \log p_i\Big)$$

    It is the number of dimensions if the variation is equal in all directions, 1 if it is in one
    direction only, and defined as 0 if there is none. It cannot exceed the number of examples or
    of dimensions, so compare it only between sets of the same size.

    Args:
        features: array of shape `(examples, dimensions)`.
        center: whether to subtract the mean feature first. Roy and Vetterli define the effective
            rank of a matrix with `center=False`. The mean says nothing about single examples and
            is large for features after a ReLU, so it is subtracted by default.

    Returns:
        The effective rank. Singular values below a millionth of the features' norm are float32
        rounding errors and are ignored.

    Raises:
        ValueError: if `features` is not a finite matrix.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> round(evaluate.effective_rank(np.eye(4), center=False), 3)
    4.0
    >>> evaluate.effective_rank(np.ones((4, 8)))
    0.0

    Reference:
        - [Roy & Vetterli, 2007](https://www.eurasip.org/Proceedings/Eusipco/Eusipco2007/Papers/a5p-h05.pdf)
        - [Garrido et al., 2022](https://arxiv.org/abs/2210.02885), as a measure of features
    """
    features = check_features(features, "features").astype("float64")
    size = np.linalg.norm(features)
    if center:
        features = features - features.mean(axis=0)
    # singular values are the square roots of the eigenvalues of the smaller Gram matrix
    wide = features.shape[0] < features.shape[1]
    gram = features @ features.T if wide else features.T @ features
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    values = values[values > 1e-6 * size]
    if not len(values):
        return 0.0
    p = values / values.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def feature_std(features: Any) -> np.ndarray:
    r"""Compute the standard deviation of each dimension of normalized features, times $\sqrt d$.

    Features are first divided by their norms, as in losses of cosine similarity. If they are
    uniform on the sphere, each dimension has a standard deviation of $1 / \sqrt d$, so the values
    are about 1; if all features point in one direction they are 0. The mean over dimensions of the
    squares is 1 minus the mean cosine similarity of two features.

    Args:
        features: array of shape `(examples, dimensions)`.

    Returns:
        Array of shape `(dimensions,)`.

    Raises:
        ValueError: if `features` is not a finite matrix.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> evaluate.feature_std(np.array([[3.0, 0.0], [-1.0, 0.0]]))
    array([1.41421356, 0.        ])

    Reference:
        [Chen & He, 2020](https://arxiv.org/abs/2011.10566), section 4.1
    """
    features = check_features(features, "features").astype("float64")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    # a zero vector stays zero
    normalized = features / np.where(lengths > 0, lengths, 1.0)
    return normalized.std(axis=0) * np.sqrt(features.shape[1])
