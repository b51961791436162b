"""How many directions features vary in."""

import numpy as np


def rank_of(features: np.ndarray) -> int:
    """Return the rank of features around their mean, whatever the units of their columns."""
    centered = features - features.mean(axis=0)
    largest = np.abs(centered).max(axis=0)
    values = np.linalg.svd(centered / np.where(largest > 0, largest, 1.0), compute_uv=False)
    # features may have been float32
    return int(np.count_nonzero(values > 1e-6 * values.max())) if values.max() > 0 else 0
