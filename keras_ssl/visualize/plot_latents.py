"""What a decoder makes of latents that change step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._figures import check_images, save, to_unit
from keras_ssl.visualize._grid import grid_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def plot_traversal(
    decode: Callable[[Any], Any],
    latent: Any,
    dimensions: int | Sequence[int] = 8,
    values: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    value_range: tuple[float, float] = (0, 255),
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot what a decoder makes of one latent whose variables change: a row for each of them.

    In each column the row's variable has the value above, and all others are those of `latent`. If
    latent variables are independent factors, one thing changes in each row.

    Args:
        decode: function or layer from latents `(n, latent_dim)` to images
            `(n, height, width, channels)`, such as `decode` of `trainers.VAE` or the generator of
            `trainers.GAN`.
        latent: where to start, of shape `(latent_dim,)`, such as one row of `trainer.encode(x)`.
        dimensions: the indices of the variables, or how many, from the first one.
        values: the values that each of them takes; those of a standard normal distribution lie
            between -3 and 3.
        value_range: the values shown as black and as white. Values outside are clipped.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `latent` is not one vector, a dimension is not one of its indices, `values`
            are not finite numbers, or `decode` does not return one image per latent.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> def decode(z):  # the first variable is the gray value
    ...     return np.ones((len(z), 8, 8, 1)) * np.asarray(z)[:, :1, None, None]
    >>> figure = visualize.plot_traversal(decode, np.zeros(2), value_range=(-3, 3))
    >>> np.asarray(figure.axes[0].images[0].get_array())[4, ::10].round(2)
    array([0.  , 0.17, 0.33, 0.5 , 0.67, 0.83, 1.  ])

    Reference:
        - [Higgins et al., beta-VAE](https://openreview.net/forum?id=Sy2fzU9gl), 2017
    """
    import numpy as np

    latent = _latents("latent", latent, rank=1)
    if isinstance(dimensions, int):
        count = checks.integer("dimensions", dimensions, minimum=1)
        dimensions = range(min(count, len(latent)))
    rows = np.asarray(dimensions)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or not set(rows) <= set(range(len(latent))):
        raise ValueError(
            f"`dimensions` must be a number of latent variables, or indices from 0 to "
            f"{len(latent) - 1}. Received: dimensions={dimensions!r}"
        )
    values = _latents("values", values, rank=1)
    z = np.tile(latent, (len(rows), len(values), 1))
    z[np.arange(len(rows)), :, rows] = values
    images = to_unit(_decoded(decode, z), value_range)
    names = [f"variable {row}" for row in rows], [f"{value:g}" for value in values]
    return save(grid_figure(images, len(values), *names), path)


def plot_interpolation(
    decode: Callable[[Any], Any],
    starts: Any,
    ends: Any,
    steps: int = 8,
    spherical: bool = False,
    value_range: tuple[float, float] = (0, 255),
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot what a decoder makes of the latents between two others: a row for each pair.

    Args:
        decode: function or layer from latents `(n, ...)` to images `(n, height, width, channels)`,
            such as `decode` of `trainers.VAE` or the generator of `trainers.GAN`.
        starts: latents of the first column, `(rows, ...)`.
        ends: latents of the last column, of the same shape.
        steps: number of columns.
        spherical: whether to go along an arc and not along a line. Latents drawn from a normal
            distribution of many dimensions lie near a sphere, and a line between two of them
            passes where none are.
        value_range: the values shown as black and as white. Values outside are clipped.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `starts` and `ends` differ in shape, there are fewer than two steps, an arc
            begins or ends at zero or joins opposite latents, or `decode` does not return one image
            per latent.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> def decode(z):  # the first variable is the gray value
    ...     return np.ones((len(z), 8, 8, 1)) * np.asarray(z)[:, :1, None, None]
    >>> z = np.array([[0.0], [1.0]])
    >>> figure = visualize.plot_interpolation(decode, z, 1 - z, steps=5, value_range=(0, 1))
    >>> np.asarray(figure.axes[0].images[0].get_array())[[4, 14], ::10]
    array([[0.  , 0.25, 0.5 , 0.75, 1.  ],
           [1.  , 0.75, 0.5 , 0.25, 0.  ]])

    Reference:
        - [White, Sampling Generative Networks](https://arxiv.org/abs/1609.04468): arcs
    """
    import numpy as np

    steps = checks.integer("steps", steps, minimum=2)
    starts, ends = _latents("starts", starts), _latents("ends", ends)
    if starts.shape != ends.shape:
        raise ValueError(
            "`starts` and `ends` must have the same shape. Received: "
            f"starts.shape={starts.shape}, ends.shape={ends.shape}"
        )
    share = np.linspace(0, 1, steps).reshape(1, -1, *[1] * (starts.ndim - 1))
    to_start, to_end = _arc(starts, ends, share) if spherical else (1 - share, share)
    z = to_start * starts[:, None] + to_end * ends[:, None]
    return save(grid_figure(to_unit(_decoded(decode, z), value_range), steps), path)


def _latents(name: str, latents: Any, rank: int | None = None) -> np.ndarray:
    """Return latents as float64, finite and at least one, of a rank of at least 2 by default."""
    import keras
    import numpy as np

    array = keras.ops.convert_to_numpy(latents)
    fits = array.ndim >= 2 if rank is None else array.ndim == rank
    if not fits or array.size == 0 or not np.isfinite(array).all():
        shape = "(rows, ...)" if rank is None else "(n,)"
        raise ValueError(
            f"`{name}` must be finite numbers of shape {shape}, at least one. "
            f"Received: shape={array.shape}"
        )
    return array.astype("float64")


def _decoded(decode: Callable[[Any], Any], z: np.ndarray) -> np.ndarray:
    """Return the images of a grid of latents `(rows, columns, ...)`, row by row."""
    import keras

    z = z.reshape(-1, *z.shape[2:]).astype("float32")
    images = check_images("decode(latents)", decode(keras.ops.convert_to_tensor(z)))
    if len(images) != len(z):
        raise ValueError(
            f"`decode` must return one image per latent. Received: {len(images)} images for "
            f"{len(z)} latents"
        )
    return images


def _arc(starts: np.ndarray, ends: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors of both ends at shares of the arc between them."""
    import numpy as np

    flat = [one.reshape(len(one), -1) for one in (starts, ends)]
    lengths = [np.linalg.norm(one, axis=-1) for one in flat]
    if min(one.min() for one in lengths) == 0:
        raise ValueError("`spherical=True` needs latents that are not zero. Received: a zero")
    cosine = np.sum(flat[0] * flat[1], axis=-1) / (lengths[0] * lengths[1])
    angle = np.arccos(cosine.clip(-1, 1)).reshape(-1, *[1] * (share.ndim - 1))
    if np.any(np.pi - angle < 1e-6):
        raise ValueError(
            "`spherical=True` needs latents that do not point in opposite directions, between "
            "which no arc is the shortest. Received: opposite latents"
        )
    # equal directions: a line
    is_line, sine = angle < 1e-6, np.maximum(np.sin(angle), 1e-12)
    return tuple(np.where(is_line, one, np.sin(one * angle) / sine) for one in (1 - share, share))
