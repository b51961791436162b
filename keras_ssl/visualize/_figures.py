"""Figures without global state, their colours and style, and saving."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Ten colours that the colour-blind can tell apart: Petroff (2021), "Accessible Color Sequences for
# Data Visualization", arXiv:2107.02270.
COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
TEXT_COLOR = "#333333"


def new_figure(width: float, height: float) -> Figure:
    """Create a figure of a size in inches, unknown to pyplot, so that it need not be closed."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def style_axes(axes: Axes) -> None:
    """Remove the frame and make text and ticks gray, so that the data stand out."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")
    axes.tick_params(colors=TEXT_COLOR, length=3, labelsize=9)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def save(figure: Figure, path: str | PathLike[str] | None) -> Figure:
    """Save a figure unless `path` is `None`, creating its folder, and return it."""
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, format=path.suffix[1:] or "png")
    return figure


def show(axes: Axes, pixels: np.ndarray) -> None:
    """Show one image with values from 0 to 1 without interpolation."""
    if pixels.shape[-1] == 1:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(pixels, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def to_unit(images: np.ndarray, value_range: Any) -> np.ndarray:
    """Return pixels as float64, 0 for black and 1 for white, those outside clipped; or raise."""
    low, high = check_value_range(value_range)
    return ((images.astype("float64") - low) / (high - low)).clip(0, 1)


def check_images(name: str, images: Any) -> np.ndarray:
    import keras

    array = keras.ops.convert_to_numpy(images)
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or array.size == 0:
        raise ValueError(
            f"`{name}` must have shape (batch, height, width, channels) with 1 or 3 channels and "
            f"at least one image. Received: shape={array.shape}"
        )
    return array


def check_labels(
    labels: Any, class_names: Sequence[str] | None, n: int
) -> tuple[np.ndarray | None, Sequence[str] | None]:
    """Return integer labels, -1 for points without one, and the names of the classes."""
    import keras
    import numpy as np

    if labels is None:
        if class_names is not None:
            raise ValueError("`class_names` need `labels`. Received: labels=None")
        return None, None
    labels = np.asarray(labels if isinstance(labels, list) else keras.ops.convert_to_numpy(labels))
    if labels.shape == (n, 1):
        labels = labels[:, 0]
    if labels.dtype.kind == "U" and class_names is None:
        class_names, labels = np.unique(labels, return_inverse=True)
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < -1:
        raise ValueError(
            f"`labels` must be non-negative integers of shape ({n},), one per row of `features`, "
            "-1 for no label, or strings. "
            f"Received: shape={labels.shape}, dtype={labels.dtype}"
        )
    if class_names is not None and labels.max() >= len(class_names):
        raise ValueError(
            f"`class_names` must name every label, 0 to {labels.max()}. Received: "
            f"{len(class_names)} names"
        )
    return labels.astype("int64"), class_names


def check_value_range(value_range: Any) -> tuple[float, float]:
    """Return the values of black and of white, or raise."""
    low, high = value_range
    if not low < high:
        raise ValueError(
            "`value_range` must be a pair of numbers, the lower one first. "
            f"Received: value_range={value_range}"
        )
    return low, high
