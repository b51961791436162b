"""Checks of values of data that is not made of images."""

from typing import Any

import numpy as np


def check_finite(x: Any, advice: str) -> None:
    """Raise a `ValueError` if an array or a first batch has values that are missing or infinite.

    Args:
        x: array or eager tensor whose last axis counts columns or channels.
        advice: what to do about it.
    """
    values = np.asarray(x)
    if values.dtype.kind in "biu":
        return
    is_bad = ~np.isfinite(values.astype("float64"))
    if is_bad.any():
        (columns,) = np.nonzero(is_bad.any(axis=tuple(range(is_bad.ndim - 1))))
        raise ValueError(
            f"`x` must have no missing or infinite values: {advice}. Received: values that are not "
            f"finite in {len(columns)} columns, such as column {columns[0]}"
        )
