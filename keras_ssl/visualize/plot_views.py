"""Plots of images and their views."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._figures import TEXT_COLOR, new_figure, save

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_views(
    images: Any,
    views: Any,
    max_images: int = 8,
    value_range: tuple[float, float] = (0, 255),
    titles: Sequence[str] | None = None,
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot images and their views, with one column per image and the original on top.

    Args:
        images: batch of images of shape `(batch, height, width, channels)`, with 1 or 3 channels.
        views: a batch of views, or a tuple or list of batches, as returned by an augmentation
            layer. Row `i` of each belongs to image `i`. Their sizes may differ from the images'.
        max_images: number of images to show, from the first one.
        value_range: the values shown as black and as white. Values outside are clipped.
        titles: titles of the views. Default: "view 1", "view 2", ...
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if images and views are not batches of the same size with 1 or 3 channels, or
            `max_images`, `value_range` or `titles` are wrong.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3))
    >>> figure = visualize.plot_views(images, (images[:, :, ::-1], images[:, ::-1]))
    >>> len(figure.axes)  # four images with two views each
    12
    """
    low, high = value_range
    if not low < high:
        raise ValueError(
            "`value_range` must be a pair of numbers, the lower one first. "
            f"Received: value_range={value_range}"
        )
    checks.integer("max_images", max_images, minimum=1)
    views = list(views) if isinstance(views, (tuple, list)) else [views]
    titles = [f"view {i + 1}" for i in range(len(views))] if titles is None else list(titles)
    if len(titles) != len(views):
        raise ValueError(
            f"`titles` must hold one title per view. Received: {len(titles)} titles for "
            f"{len(views)} views"
        )
    batch = _check_images("images", images)
    rows = [batch, *(_check_images(f"views[{i}]", view) for i, view in enumerate(views))]
    for title, row in zip(titles, rows[1:], strict=True):
        if len(row) != len(batch):
            raise ValueError(
                f"`views` must hold one view per image. Received: {len(row)} views named {title!r} "
                f"for {len(batch)} images"
            )

    count = min(max_images, len(batch))
    figure = new_figure(1.25 * count + 0.5, 1.25 * len(rows))
    grid = figure.subplots(len(rows), count, squeeze=False)
    for i, (title, row) in enumerate(zip(["original", *titles], rows, strict=True)):
        height, width = row.shape[1:3]
        label = f"{title}\n{width}x{height} pixels"
        grid[i, 0].set_ylabel(label, fontsize=9, color=TEXT_COLOR)
        for j in range(count):
            _show(grid[i, j], ((row[j].astype("float64") - low) / (high - low)).clip(0, 1))
    return save(figure, path)


def _show(axes: Axes, pixels: np.ndarray) -> None:
    """Show one image with values from 0 to 1 without interpolation."""
    if pixels.shape[-1] == 1:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(pixels, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _check_images(name: str, images: Any) -> np.ndarray:
    import keras

    array = keras.ops.convert_to_numpy(images)
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or array.size == 0:
        raise ValueError(
            f"`{name}` must have shape (batch, height, width, channels) with 1 or 3 channels and "
            f"at least one image. Received: shape={array.shape}"
        )
    return array
