"""Plots of images and their views."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._figures import (
    TEXT_COLOR,
    check_images,
    check_value_range,
    new_figure,
    save,
    show,
    to_unit,
)

if TYPE_CHECKING:
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

    A pixel is as large in all views, so crops of several sizes, such as those of
    `augment.MultiCropViews`, are drawn at their sizes. The original fills its place.

    Args:
        images: batch of images of shape `(batch, height, width, channels)`, with 1 or 3 channels.
        views: a batch of views, or a tuple or list of batches, as returned by an augmentation
            layer. Row `i` of each belongs to image `i`. Their sizes may differ from the images'.
        max_images: number of images to show, from the first one.
        value_range: the values shown as black and as white. Values outside are clipped.
        titles: titles of the views. Default: "view 1", "view 2", ...; for views of two sizes,
            "global 1", "global 2", ... for the larger and "local 1", ... for the smaller ones.
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
    check_value_range(value_range)
    checks.integer("max_images", max_images, minimum=1)
    views = list(views) if isinstance(views, (tuple, list)) else [views]
    batch = check_images("images", images)
    rows = [batch, *(check_images(f"views[{i}]", view) for i, view in enumerate(views))]
    titles = _names([row.shape[1:3] for row in rows[1:]]) if titles is None else list(titles)
    if len(titles) != len(views):
        raise ValueError(
            f"`titles` must hold one title per view. Received: {len(titles)} titles for "
            f"{len(views)} views"
        )
    for title, row in zip(titles, rows[1:], strict=True):
        if len(row) != len(batch):
            raise ValueError(
                f"`views` must hold one view per image. Received: {len(row)} views named {title!r} "
                f"for {len(batch)} images"
            )

    count = min(max_images, len(batch))
    largest = [max(row.shape[axis] for row in rows[1:]) for axis in (1, 2)]
    # a row of small crops is lower, but not lower than its title
    heights = [1.0, *(max(row.shape[1] / largest[0], 0.4) for row in rows[1:])]
    figure = new_figure(1.25 * count + 0.9, 1.25 * sum(heights))
    grid = figure.subplots(len(rows), count, squeeze=False, height_ratios=heights)
    for i, (title, row) in enumerate(zip(["original", *titles], rows, strict=True)):
        height, width = row.shape[1:3]
        label = f"{title}\n{width}x{height} pixels"
        side = {"rotation": 0, "ha": "right", "va": "center"}
        grid[i, 0].set_ylabel(label, fontsize=9, color=TEXT_COLOR, **side)
        for j in range(count):
            show(grid[i, j], to_unit(row[j], value_range))
            if i > 0:
                _same_scale(grid[i, j], (height, width), (heights[i] * largest[0], largest[1]))
    return save(figure, path)


def _names(sizes: list[tuple[int, int]]) -> list[str]:
    """Titles of views: "global" and "local" if they have two sizes."""
    if len(set(sizes)) != 2:
        return [f"view {i + 1}" for i in range(len(sizes))]
    largest = max(sizes)
    counts = {"global": 0, "local": 0}
    titles = []
    for size in sizes:
        kind = "global" if size == largest else "local"
        counts[kind] += 1
        titles.append(f"{kind} {counts[kind]}")
    return titles


def _same_scale(axes: Axes, size: tuple[int, int], shown: tuple[float, float]) -> None:
    """Show a part of the plane of this height and width, with the image in its middle."""
    (height, width), (shown_height, shown_width) = size, shown
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    axes.set_xlim(middle_x - shown_width / 2, middle_x + shown_width / 2)
    axes.set_ylim(middle_y + shown_height / 2, middle_y - shown_height / 2)
