"""Plots of measures of several encoders, with intervals."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl.visualize._figures import COLORS, TEXT_COLOR, new_figure, save, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3


def plot_comparison(
    comparison: Any, title: str | None = None, path: str | PathLike[str] | None = None
) -> Figure:
    """Plot what `keras_ssl.evaluate.compare` returns: a panel per measure, a line per encoder.

    Large points are means, small ones the seeds, and bars the intervals over seeds.

    Args:
        comparison: a `keras_ssl.evaluate.Comparison`.
        title: title of the figure.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        TypeError: if `comparison` is none.
        ValueError: if it is empty.

    Example:

    >>> from keras_ssl import evaluate, visualize
    >>> values = {"ours": {"k-NN": [0.8, 0.9, 0.85]}, "pixels": {"k-NN": [0.7]}}
    >>> figure = visualize.plot_comparison(evaluate.Comparison(values))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['ours', 'pixels']
    """
    if not hasattr(comparison, "intervals"):
        raise TypeError(
            "`comparison` must be what `evaluate.compare` returns. "
            f"Received: {comparison!r} (of type {type(comparison).__name__})"
        )
    measures = list(dict.fromkeys(measure for row in comparison.values() for measure in row))
    if not measures:
        raise ValueError("`comparison` must hold at least one measure. Received: none")
    columns = min(len(measures), _COLUMNS)
    rows = -(-len(measures) // columns)
    height = 0.9 + 0.35 * len(comparison)
    figure = new_figure(1.5 + 3.0 * columns, height * rows + 0.4 * bool(title))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, measure in zip(grid, measures, strict=False):
        _plot_panel(axes, measure, comparison)
    for axes in grid[len(measures) :]:
        axes.remove()
    if title:
        figure.suptitle(title, fontsize=11, color=TEXT_COLOR)
    return save(figure, path)


def _plot_panel(axes: Axes, measure: str, comparison: Any) -> None:
    intervals = comparison.intervals()
    for number, (encoder, row) in enumerate(comparison.items()):
        if measure not in row:
            continue
        color, cell = COLORS[number % len(COLORS)], intervals[encoder][measure]
        if cell["low"] is not None:
            axes.plot([cell["low"], cell["high"]], [number] * 2, color=color, linewidth=2.0)
            axes.plot(row[measure], [number] * cell["seeds"], "o", color=color, markersize=3)
        axes.plot([cell["mean"]], [number], "o", color=color, markersize=8)
    style_axes(axes)
    axes.set_yticks(range(len(comparison)), list(comparison))
    axes.set_ylim(len(comparison) - 0.5, -0.5)  # the first at the top
    axes.set_xlabel(measure, color=TEXT_COLOR)
