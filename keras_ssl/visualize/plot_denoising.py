"""Strips from noise to data."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._figures import check_images, save, to_unit
from keras_ssl.visualize._grid import grid_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_denoising(
    frames: Any,
    max_images: int = 8,
    value_range: tuple[float, float] = (0, 255),
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot how images come out of noise: a row per image, and time from left to right.

    Each column says how much of the way the sampler has gone.

    Args:
        frames: states at equal distances, the last of which is the result, of shape
            `(frames, n, height, width, channels)`, with 1 or 3 channels: what `trajectory` of
            `trainers.Diffusion`, `LatentDiffusion` and `FlowMatching` returns.
        max_images: number of images to show, from the first one.
        value_range: the values shown as black and as white. Values outside are clipped.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `frames` has another shape, or `max_images` or `value_range` is wrong.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> frames = np.random.default_rng(0).uniform(0, 255, (4, 2, 16, 16, 3))
    >>> figure = visualize.plot_denoising(frames)
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['25 %', '50 %', '75 %', '100 %']

    Reference:
        - [Ho et al., Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2006.11239)
    """
    import keras

    checks.integer("max_images", max_images, minimum=1)
    frames = keras.ops.convert_to_numpy(frames)
    if frames.ndim != 5 or not len(frames):
        raise ValueError(
            "`frames` must have shape (frames, n, height, width, channels), as `trajectory` "
            f"returns it. Received: shape={frames.shape}"
        )
    count, size = len(frames), frames.shape[2:]
    rows = frames[:, :max_images].swapaxes(0, 1).reshape(-1, *size)
    pixels = to_unit(check_images("frames", rows), value_range)
    names = [f"{100 * (number + 1) / count:.0f} %" for number in range(count)]
    return save(grid_figure(pixels, count, column_names=names), path)
