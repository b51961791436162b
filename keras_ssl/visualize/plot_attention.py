"""Maps of what a token attends to."""

from __future__ import annotations

import math
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
    import numpy as np
    from matplotlib.figure import Figure


def plot_attention(
    images: Any,
    scores: Any,
    grid: tuple[int, int] | None = None,
    max_images: int = 6,
    value_range: tuple[float, float] = (0, 255),
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot images, one per row, beside maps of the attention to their patches, one per head.

    The first map is the mean of all heads. Each map goes from its least score, black, to its
    greatest, yellow. For the class token of a `networks.vit`:

        outputs = encoder.encode(encoder.embed(images), grid, return_attention_scores=True)
        scores = outputs["attention_scores"][-1][:, :, 0, encoder.extra_tokens:]

    Args:
        images: batch of images of shape `(batch, height, width, channels)`, with 1 or 3 channels.
        scores: scores of one token for all patches, `(batch, heads, patches)`, in the order of the
            rows of patches.
        grid: `(rows, columns)` of patches. `None` for as many rows as columns.
        max_images: number of images to show, from the first one.
        value_range: the values shown as black and as white. Values outside are clipped.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if images and scores do not match, scores are not finite, or patches and `grid`
            differ in number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks, visualize
    >>> images = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 3))
    >>> encoder = networks.vit((16, 2, 4), input_shape=(16, 16, 3), patch_size=4)
    >>> outputs = encoder.encode(encoder.embed(images), (4, 4), return_attention_scores=True)
    >>> scores = outputs["attention_scores"][-1][:, :, 0, encoder.extra_tokens :]
    >>> figure = visualize.plot_attention(images, scores)
    >>> len(figure.axes)  # three images with a mean and four heads each
    18

    Reference:
        - [Caron et al., Emerging Properties in Self-Supervised Vision Transformers](
          https://arxiv.org/abs/2104.14294)
    """
    check_value_range(value_range)
    checks.integer("max_images", max_images, minimum=1)
    batch = check_images("images", images)
    maps = _maps(scores, len(batch), grid)
    count, heads = min(max_images, len(batch)), maps.shape[1]
    figure = new_figure(1.25 * (heads + 2), 1.25 * count + 0.3)
    axes = figure.subplots(count, heads + 2, squeeze=False)
    titles = ["image", "mean", *(f"head {head + 1}" for head in range(heads))]
    for row in range(count):
        show(axes[row, 0], to_unit(batch[row], value_range))
        for column, one in enumerate([maps[row].mean(axis=0), *maps[row]], start=1):
            axes[row, column].imshow(one, cmap="inferno", interpolation="nearest")
            axes[row, column].set(xticks=[], yticks=[])
            axes[row, column].spines[:].set_visible(False)
    for one, title in zip(axes[0], titles, strict=True):
        one.set_title(title, fontsize=9, color=TEXT_COLOR)
    return save(figure, path)


def _maps(scores: Any, count: int, grid: tuple[int, int] | None) -> np.ndarray:
    """Return scores as float64 `(batch, heads, rows, columns)`."""
    import keras
    import numpy as np

    scores = keras.ops.convert_to_numpy(scores).astype("float64")
    if scores.ndim != 3 or len(scores) != count:
        raise ValueError(
            f"`scores` must have shape ({count}, heads, patches), those of one token per image. "
            f"Received: shape={scores.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError("`scores` must be finite. Received: NaN or infinite values")
    patches = scores.shape[-1]
    if grid is None:
        grid = (math.isqrt(patches),) * 2
    grid = checks.image_size("grid", grid)
    if math.prod(grid) != patches:
        raise ValueError(
            "`grid` must be the rows and columns of the patches that `scores` are for. Leave out "
            f"those for a class token. Received: grid={grid}, {patches} scores per head"
        )
    return scores.reshape(*scores.shape[:2], *grid)
