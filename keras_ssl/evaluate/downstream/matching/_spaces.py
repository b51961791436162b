"""Checks of two spaces of features."""

from typing import Any

import numpy as np

from keras_ssl.evaluate._forward import check_features


def check_pairs(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return features of two spaces, of which equal rows belong together, in float64, or raise."""
    first = check_features(first, "first", dtype="float64")
    second = check_features(second, "second", dtype="float64")
    if len(first) != len(second):
        raise ValueError(
            "`first` and `second` must be pairs: row i of one belongs to row i of the other. "
            f"Received: {len(first)} and {len(second)} rows"
        )
    return first, second


def check_as_fitted(features: Any, width: int | None, name: str) -> np.ndarray:
    """Return features as wide as those that a map was fitted to, in float64, or raise."""
    if width is None:
        raise ValueError("There is no map yet: call `fit` first. Received: an object without one")
    features = check_features(features, name, dtype="float64")
    if features.shape[1] != width:
        raise ValueError(
            f"`{name}` must have as many dimensions as in `fit`, {width}. "
            f"Received: shape {features.shape}"
        )
    return features
