"""Grids of images."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._figures import check_images, save, to_unit
from keras_ssl.visualize._grid import grid_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_samples(
    images: Any,
    columns: int = 8,
    titles: Sequence[str] | None = None,
    value_range: tuple[float, float] = (0, 255),
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot images as a grid, row by row, such as those that `trainer.sample` returns.

    Args:
        images: batch of images of shape `(n, height, width, channels)`, with 1 or 3 channels.
        columns: number of images in a row.
        titles: a title for each column, such as the class that was asked for; or `None`.
        value_range: the values shown as black and as white. Values outside are clipped.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `images` is not a batch of images, `columns` or `value_range` is wrong, or
            there is not one title per column.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> images = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1))
    >>> figure = visualize.plot_samples(images, columns=10)
    >>> figure.axes[0].images[0].get_array().shape  # two rows, with white between images
    (58, 298)
    """
    columns = checks.integer("columns", columns, minimum=1)
    pixels = to_unit(check_images("images", images), value_range)
    if titles is not None and len(titles) != columns:
        raise ValueError(
            f"`titles` must hold one title per column, {columns}. Received: {len(titles)} titles"
        )
    if titles is None:
        columns = min(columns, len(pixels))
    return save(grid_figure(pixels, columns, column_names=titles or ()), path)
