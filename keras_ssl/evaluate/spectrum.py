"""How many dimensions the features fill, and how much they vary."""

from typing import Any

import numpy as np

from keras_ssl.evaluate.features import check_features


def effective_rank(features: Any, center: bool = True) -> float:
    r"""The effective rank of a set of features: how many directions they really use.

    With the singular values $\sigma_i$ of the feature matrix and
    $p_i = \sigma_i / \sum_j \sigma_j$,

    $$\mathrm{erank} = \exp\Big(-\sum_i p_i \log p_i\Big)$$

    It is `d` when all directions carry the same, 1 when one direction carries everything, and 0
    here when there is no variation at all. It cannot exceed the smaller of the number of examples
    and of dimensions, so compare it between sets of the same size only.

    Args:
        features: array of shape `(examples, dimensions)`.
        center: whether to subtract the mean feature first. Roy and Vetterli's definition, for a
            matrix as it stands, is `center=False`. The mean says nothing about the examples, and
            features behind a ReLU have a large one, so the default leaves it out.

    Returns:
        The effective rank. Variation smaller than a millionth of the features' size is rounding
        error of float32 and counts as none.

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
    # the singular values are those of the smaller of the two Gram matrices, rooted
    wide = features.shape[0] < features.shape[1]
    gram = features @ features.T if wide else features.T @ features
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    values = values[values > 1e-6 * size]
    if not len(values):
        return 0.0
    p = values / values.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def feature_std(features: Any) -> np.ndarray:
    r"""The standard deviation of every dimension of the normalised features, times $\sqrt d$.

    Features are divided by their length first, as a loss on cosine similarity sees them. Where
    they spread evenly over the sphere, each dimension has a standard deviation of $1 / \sqrt d$,
    so the value is about 1; it is 0 where all features point one way. The mean of the squares over
    the dimensions is 1 minus the mean cosine similarity of two features.

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
    # a feature of zeros stays zero
    normalized = features / np.where(lengths > 0, lengths, 1.0)
    return normalized.std(axis=0) * np.sqrt(features.shape[1])
