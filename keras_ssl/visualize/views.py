"""The views of a batch beside the images that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize.figures import TEXT_COLOR, new_figure, save

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
    """Plot images and their views: one column an image, the original on top.

    Args:
        images: batch of images of shape `(batch, height, width, channels)`, with 1 or 3 channels.
        views: one batch of views, or a tuple or list of them, as an augmentation layer returns
            them. Views may have other sizes than the images; row `i` of each belongs to image `i`.
        max_images: how many images of the batch to show, from the first on.
        value_range: the lowest and the highest value that images and views can have: they are
            shown as black and white. Values beyond are clipped.
        titles: titles of the views. Default: "view 1", "view 2", ...
        path: file to save the picture to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if images and views are not batches of as many images, with 1 or 3 channels,
            or if `max_images`, `value_range` or `titles` do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3))
    >>> figure = visualize.plot_views(images, (images[:, :, ::-1], images[:, ::-1]))
    >>> len(figure.axes)  # four images, each with two views
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
            f"`titles` must hold one title a view. Received: {len(titles)} titles for "
            f"{len(views)} views"
        )
    batch = _check_images("images", images)
    rows = [batch, *(_check_images(f"views[{i}]", view) for i, view in enumerate(views))]
    for title, row in zip(titles, rows[1:], strict=True):
        if len(row) != len(batch):
            raise ValueError(
                f"`views` must hold one view an image. Received: {len(row)} views of the name "
                f"{title!r} for {len(batch)} images"
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
    """Show one image with values from 0 to 1, pixel by pixel."""
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
