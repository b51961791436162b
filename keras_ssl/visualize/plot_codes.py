"""Patches by the code that a tokenizer gives them."""

from __future__ import annotations

import math
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._figures import (
    COLORS,
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


def plot_codes(
    images: Any,
    codes: Any,
    grid: tuple[int, int] | None = None,
    codebook_size: int | None = None,
    max_codes: int = 8,
    patches: int = 12,
    context: int = 1,
    value_range: tuple[float, float] = (0, 255),
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot patches of images, one row for each of the most frequent codes of a tokenizer.

    Patches with one code should look or mean alike. The code and its share of all patches stand
    beside each row, the number of codes in use in the title. Each patch comes from another image,
    where there are enough, and is shown in a frame in the middle of its surroundings.

    Args:
        images: batch of images of shape `(batch, height, width, channels)`, with 1 or 3 channels.
        codes: integers `(batch, patches)`, in the order of the rows of patches, such as those of
            `trainers.VQKD.tokenize`.
        grid: `(rows, columns)` of patches. `None` for as many rows as columns.
        codebook_size: number of codes that there are, for the title; or `None`.
        max_codes: number of codes to show.
        patches: number of patches per code.
        context: how many patches on each side of a patch are shown with it.
        value_range: the values shown as black and as white. Values outside are clipped.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if images, codes and `grid` do not match, or a number is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> rng = np.random.default_rng(0)
    >>> images, codes = rng.integers(0, 256, (9, 16, 16, 3)), rng.integers(0, 5, (9, 16))
    >>> figure = visualize.plot_codes(images, codes, codebook_size=6, max_codes=3, patches=4)
    >>> len(figure.axes), figure.get_suptitle()
    (12, '5 of 6 codes in use')

    Reference:
        - [Peng et al., BEiT v2](https://arxiv.org/abs/2208.06366)
    """
    import numpy as np
    from matplotlib.patches import Rectangle

    check_value_range(value_range)
    checks.integer("max_codes", max_codes, minimum=1)
    checks.integer("patches", patches, minimum=1)
    checks.integer("context", context, minimum=0)
    checks.integer("codebook_size", codebook_size, minimum=1, optional=True)
    batch = check_images("images", images)
    codes = _codes_on_grid(codes, batch.shape, grid)
    height, width = batch.shape[1] // codes.shape[1], batch.shape[2] // codes.shape[2]
    border = ((0, 0), (context * height,) * 2, (context * width,) * 2, (0, 0))
    padded = np.pad(to_unit(batch, value_range), border)

    values, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:max_codes]
    figure = new_figure(0.8 * patches + 1.2, 0.8 * len(order) + 0.4)
    axes = figure.subplots(len(order), patches, squeeze=False)
    for row, number in zip(axes, order, strict=True):
        places = np.argwhere(codes == values[number])
        # one of each image first
        first = np.unique(places[:, 0], return_index=True)[1]
        others = np.setdiff1d(np.arange(len(places)), first)
        chosen = places[np.concatenate([first, others])[:patches]]
        for one in row:
            one.axis("off")
        for one, (image, i, j) in zip(row, chosen, strict=False):
            top, left = i * height, j * width
            size = 2 * context + 1
            one.axis("on")
            show(one, padded[image, top : top + size * height, left : left + size * width])
            if context:
                corner = (context * width - 0.5, context * height - 0.5)
                frame = {"fill": False, "edgecolor": COLORS[1], "linewidth": 1.0}
                one.add_patch(Rectangle(corner, width, height, **frame))
        share = counts[number] / codes.size
        label = f"code {values[number]}\n{100 * share:.1f} %"
        side = {"rotation": 0, "ha": "right", "va": "center"}
        row[0].set_ylabel(label, fontsize=8, color=TEXT_COLOR, **side)
    of = "" if codebook_size is None else f" of {codebook_size}"
    figure.suptitle(f"{len(values)}{of} codes in use", fontsize=11, color=TEXT_COLOR)
    return save(figure, path)


def _codes_on_grid(codes: Any, shape: tuple, grid: tuple[int, int] | None) -> np.ndarray:
    """Return codes as `(batch, rows, columns)`."""
    import keras
    import numpy as np

    codes = keras.ops.convert_to_numpy(codes)
    if codes.ndim != 2 or len(codes) != shape[0] or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(
            f"`codes` must be integers of shape ({shape[0]}, patches). Received: "
            f"shape={codes.shape}, dtype={codes.dtype}"
        )
    count = codes.shape[1]
    grid = checks.image_size("grid", (math.isqrt(count),) * 2 if grid is None else grid)
    if math.prod(grid) != count or shape[1] % grid[0] or shape[2] % grid[1]:
        raise ValueError(
            "`grid` must be the rows and columns of patches, which divide the images. Received: "
            f"grid={grid} for {count} codes per image and images of {shape[1]}x{shape[2]} pixels"
        )
    return codes.reshape(-1, *grid)
