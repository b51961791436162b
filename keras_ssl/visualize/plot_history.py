"""Plots of losses and accuracies over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl.visualize._figures import COLORS, TEXT_COLOR, new_figure, save, style_axes
from keras_ssl.visualize._history import Curve, default_panels, entry_names, join

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3


def plot_history(
    history: Any,
    panels: Mapping[str, Sequence[str]] | None = None,
    title: str | None = None,
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot the history of `fit`, with a panel for each kind of quantity.

    A curve and its validation curve (`val_...`, dashed) have the same colour. `fit` does not record
    the epochs of entries with fewer values, such as validation with `validation_freq=5`, so their
    values are drawn at equal distances, the last one at the last epoch.

    Args:
        history: the `keras.callbacks.History` returned by `fit`, or a dictionary of lists like
            its `history`, or a list of either, which are joined (such as for a resumed training).
        panels: entries to plot by title of the panel, without `val_`. By default, entries are
            distributed by what is in their names: `"loss"`, `"accuracy"`, `"R²"` of a probe's
            regression ("probe_r2"), `"effective rank"` ("rank"), `"spread"` ("std" or "spread") and
            `"learning rate"`; the rest, such as the named losses of a trainer, are `"other"`.
            Accuracies are shown in percent. Empty panels are omitted.
        title: title of the figure.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        TypeError: if `history` is none of these.
        ValueError: if there is nothing to plot, or `panels` names a missing entry.

    Example:

    >>> from keras_ssl import visualize
    >>> history = {"loss": [4.1, 3.2], "probe_accuracy": [0.4, 0.6]}
    >>> figure = visualize.plot_history(history)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss', 'accuracy (%)']
    """
    curves = join(history)
    names = entry_names(curves)
    if panels is None:
        panels = default_panels(names)
    missing = [name for keys in panels.values() for name in keys if name not in names]
    panels = {key: list(entries) for key, entries in panels.items() if entries}
    if missing or not panels:
        raise ValueError(
            f"`history` has nothing to plot for {missing or 'losses and accuracies'}. Expected "
            f"`panels` to name some of its entries. Received: entries {names}"
        )
    rows = -(-len(panels) // _COLUMNS)
    columns = min(len(panels), _COLUMNS)
    figure = new_figure(5.0 * columns, 3.6 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (panel, entries) in zip(grid, panels.items(), strict=False):
        _plot_panel(axes, panel, entries, curves)
    for axes in grid[len(panels) :]:
        axes.remove()
    if title:
        figure.suptitle(title, fontsize=11, color=TEXT_COLOR)
    return save(figure, path)


def _plot_panel(axes: Axes, panel: str, entries: list[str], curves: dict[str, Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    percent = all("accuracy" in entry for entry in entries)
    for i, entry in enumerate(entries):
        for key, line in ((entry, "-"), (f"val_{entry}", "--")):
            if key in curves:
                epochs, values = curves[key]
                values = [100 * value for value in values] if percent else values
                # show single values if there are few
                marker = "o" if len(values) <= 12 else None
                axes.plot(
                    epochs,
                    values,
                    line,
                    color=COLORS[i % len(COLORS)],
                    linewidth=1.8,
                    marker=marker,
                    markersize=3.5,
                    label=key.replace("_", " "),
                )
    style_axes(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch", color=TEXT_COLOR)
    axes.set_ylabel(f"{panel} (%)" if percent else panel, color=TEXT_COLOR)
    axes.legend(frameon=False, fontsize=9, labelcolor=TEXT_COLOR)
