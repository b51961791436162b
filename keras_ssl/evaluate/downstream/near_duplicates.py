"""Groups of examples that are nearly equal."""

from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._units import unit_features

_ROWS_AT_ONCE = 1024
# the rounding of cosines in float32
_TOLERANCE = 1e-6


def near_duplicates(features: Any, threshold: float = 0.95) -> list[np.ndarray]:
    """Find groups of examples whose features have nearly one direction.

    Two examples are joined if the cosine of their features is at least `threshold`; a group is
    what pairs connect, so two of its members may be further apart than that. All pairs are compared
    in blocks: the time grows with the square of the number of examples, the memory with the number.

    Args:
        features: array of shape `(examples, dimensions)`.
        threshold: the smallest cosine of a pair, from -1 to 1. With 1, only equal directions are
            joined, up to a rounding of 1e-6. Which value means "the same" depends on the encoder:
            look at some groups.

    Returns:
        A list of int64 arrays: the rows of each group of two examples or more, in order; the
        largest group first.

    Raises:
        TypeError: if `threshold` is not a number.
        ValueError: if it is not from -1 to 1, or features are not finite or have a row of zeros.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> features = np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 0.1], [1.0, 1.0]])
    >>> evaluate.near_duplicates(features)
    [array([0, 2])]
    """
    threshold = checks.number("threshold", threshold, -1.0, 1.0)
    units = unit_features(features, "features")
    group = np.arange(len(units))
    for start in range(0, len(units), _ROWS_AT_ONCE):
        rows = units[start : start + _ROWS_AT_ONCE]
        for other in range(start, len(units), _ROWS_AT_ONCE):
            near = rows @ units[other : other + _ROWS_AT_ONCE].T >= threshold - _TOLERANCE
            one, two = np.nonzero(near)
            one, two = group[start + one], group[other + two]
            if np.any(one != two):
                group = _joined(len(units), one, two)[group]
    members = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    groups = np.split(members, np.cumsum(sizes)[:-1])
    groups = [one for one in groups if len(one) > 1]
    return sorted(groups, key=lambda one: (-len(one), one[0]))


def _joined(count: int, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the component of each node after joining pairs of them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    differ = one != two
    edges = (np.ones(np.count_nonzero(differ), bool), (one[differ], two[differ]))
    return connected_components(coo_array(edges, shape=(count, count)), directed=False)[1]
