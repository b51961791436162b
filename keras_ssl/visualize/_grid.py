"""Images laid out side by side, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_ssl.visualize._figures import TEXT_COLOR, new_figure, show

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

GAP = 2  # pixels between images


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay images out in rows of `columns`, white between them and where the last row ends early.

    Args:
        images: `(n, height, width, channels)`, with values from 0 to 1.
        columns: number of images in a row.

    Returns:
        float64 array `(rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels)`.
    """
    import numpy as np

    count, height, width, channels = images.shape
    rows = -(-count // columns)
    whole = np.ones((rows, height + GAP, columns, width + GAP, channels))
    for number, image in enumerate(images):
        whole[number // columns, :height, number % columns, :width] = image
    return whole.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]


def grid_figure(
    images: np.ndarray,
    columns: int,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
) -> Figure:
    """Show images in rows of `columns`, with a name beside each row and above each column.

    Args:
        images: as in `tile`.
        columns: number of images in a row.
        row_names: a name for each row, or none.
        column_names: a name for each column, or none.
    """
    import numpy as np

    whole, (height, width) = tile(images, columns), images.shape[1:3]
    across = 0.8 * columns  # inches
    down = across * whole.shape[0] / whole.shape[1]
    margins = (1.1 if len(row_names) else 0.0, 0.3 if len(column_names) else 0.0)
    figure = new_figure(across + margins[0], down + margins[1])
    axes = figure.subplots()
    show(axes, whole)
    axes.set_yticks(np.arange(len(row_names)) * (height + GAP) + (height - 1) / 2, row_names)
    axes.set_xticks(np.arange(len(column_names)) * (width + GAP) + (width - 1) / 2, column_names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, colors=TEXT_COLOR)
    return figure
