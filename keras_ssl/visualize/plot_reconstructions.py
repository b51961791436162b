"""Images and what a decoder makes of them."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._figures import check_images, check_value_range, save, to_unit
from keras_ssl.visualize._grid import grid_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_reconstructions(
    images: Any,
    reconstructions: Any,
    max_images: int = 8,
    value_range: tuple[float, float] = (0, 255),
    path: str | PathLike[str] | None = None,
) -> Figure:
    r"""Plot images, reconstructions of them below, and how far these are from the images.

    Beside each row stands its error: the mean squared difference from the images, in units of the
    range from black to white, over all images given and not only those shown.

    Args:
        images: batch of images of shape `(n, height, width, channels)`, with 1 or 3 channels.
        reconstructions: images of the same shape, such as those that `trainer.reconstruct` returns;
            or a dictionary of several by name, such as what a denoising autoencoder sees and
            what it makes of that.
        max_images: number of images to show, from the first one.
        value_range: the values shown as black and as white. Values outside are clipped, but not in
            the error.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if a reconstruction has not the shape of the images, or `max_images` or
            `value_range` is wrong.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> images = np.full((4, 8, 8, 1), 255.0)
    >>> figure = visualize.plot_reconstructions(images, {"gray": 0.5 * images})
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['image', 'gray\nerror 0.2500']
    """
    import numpy as np

    checks.integer("max_images", max_images, minimum=1)
    low, high = check_value_range(value_range)
    batch = check_images("images", images)
    if not isinstance(reconstructions, dict):
        reconstructions = {"reconstructed": reconstructions}
    rows, names = [batch], ["image"]
    for name, one in reconstructions.items():
        one = check_images(f"reconstructions[{name!r}]", one)
        if one.shape != batch.shape:
            raise ValueError(
                f"`reconstructions` must have the shape of the images, {batch.shape}. Received: "
                f"shape={one.shape} of {name!r}"
            )
        error = np.mean(np.square((one.astype("float64") - batch) / (high - low)))
        rows.append(one)
        names.append(f"{name}\nerror {error:.4f}")
    pixels = np.concatenate([to_unit(one[:max_images], value_range) for one in rows])
    return save(grid_figure(pixels, min(max_images, len(batch)), names), path)
