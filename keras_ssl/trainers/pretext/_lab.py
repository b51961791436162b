"""Colours of sRGB as lightness and two chromatic coordinates, CIE L*a*b* of the white D65."""

from functools import cache
from typing import Any

import numpy as np
from keras import ops

# IEC 61966-2-1: linear sRGB to XYZ, relative to the white D65, which then is (1, 1, 1)
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_TO_XYZ = _TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)
# CIE 15: from f(X), f(Y), f(Z) to L, a and b
_TO_LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
_LIGHTNESS_OFFSET = np.array([-16.0, 0.0, 0.0])
_DELTA = 6 / 29


def rgb_to_lab(rgb: Any) -> Any:
    """Return L in [0, 100], a and b, float32 `(..., 3)`, of sRGB values in [0, 1]."""
    rgb = ops.clip(ops.cast(rgb, "float32"), 0.0, 1.0)
    linear = ops.where(rgb <= 0.04045, rgb / 12.92, ops.power((rgb + 0.055) / 1.055, 2.4))
    xyz = ops.matmul(linear, _constant(_TO_XYZ.T))
    # the root's slope at 0 is infinite, where the linear part holds
    root = ops.power(ops.maximum(xyz, _DELTA**3), 1 / 3)
    f = ops.where(xyz > _DELTA**3, root, xyz / (3 * _DELTA**2) + 4 / 29)
    return ops.matmul(f, _constant(_TO_LAB.T)) + _constant(_LIGHTNESS_OFFSET)


def lab_to_rgb(lab: Any) -> Any:
    """Return sRGB values in [0, 1], float32; colours that sRGB lacks are clipped."""
    lab = ops.cast(lab, "float32") - _constant(_LIGHTNESS_OFFSET)
    f = ops.matmul(lab, _constant(np.linalg.inv(_TO_LAB).T))
    xyz = ops.where(f > _DELTA, ops.power(f, 3), 3 * _DELTA**2 * (f - 4 / 29))
    linear = ops.clip(ops.matmul(xyz, _constant(np.linalg.inv(_TO_XYZ).T)), 0.0, 1.0)
    curved = 1.055 * ops.power(ops.maximum(linear, 1e-6), 1 / 2.4) - 0.055
    return ops.clip(ops.where(linear <= 0.0031308, 12.92 * linear, curved), 0.0, 1.0)


@cache
def colors_of_grid(size: int) -> np.ndarray:
    """Return the colours (a, b) of a grid that sRGB has, float32 `(colors, 2)`.

    The multiples of `size` that are the nearest ones of a colour of sRGB, at any lightness.
    """
    levels = np.linspace(0, 1, 86)  # every third of 256 levels
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    ab = np.asarray(ops.convert_to_numpy(rgb_to_lab(rgb)))[:, 1:]
    return (np.unique(np.rint(ab / size).astype("int64"), axis=0) * size).astype("float32")


def _constant(values: np.ndarray) -> Any:
    return ops.convert_to_tensor(values.astype("float32"))
