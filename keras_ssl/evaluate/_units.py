"""Features of length 1, whose products are cosines."""

from typing import Any

import numpy as np

from keras_ssl.evaluate._forward import check_features


def unit_features(features: Any, name: str, dtype: str = "float32") -> np.ndarray:
    """Return finite features divided by their lengths, or raise a `ValueError`."""
    features = check_features(features, name).astype(dtype, copy=False)
    # by the largest entry first: squares of huge or tiny features are not float32
    largest = np.abs(features).max(axis=1, keepdims=True)
    if not largest.all():
        raise ValueError(
            f"`{name}` must have directions. Received: rows of 0, the first of which is row "
            f"{int(np.argmin(largest))}"
        )
    features = features / largest
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features


def check_widths(one: np.ndarray, other: np.ndarray, names: tuple[str, str]) -> None:
    """Raise a `ValueError` unless two sets of features have one number of dimensions."""
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` must have the same number of dimensions. "
            f"Received: shapes {one.shape} and {other.shape}"
        )
