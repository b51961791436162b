"""Histories of `fit` as curves, and the panels that they are drawn in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# what is in the names of the entries of each default panel
_PANELS = {
    "loss": ("loss",),
    "accuracy": ("accuracy",),
    "R²": ("probe_r2",),
    "effective rank": ("rank",),
    "spread": ("std", "spread"),
    "learning rate": ("learning_rate",),
}

Curve = tuple[list[float], list[float]]


def join(history: Any) -> dict[str, Curve]:
    """Return epochs and values of every entry over all parts of a training."""
    parts = history if isinstance(history, (list, tuple)) else [history]
    curves: dict[str, Curve] = {}
    start = 0
    for part in parts:
        entries = getattr(part, "history", part)
        if not isinstance(entries, Mapping):
            raise TypeError(
                "`history` must be what `fit` returns, a dictionary of lists, or a list of these. "
                f"Received: {part!r} (of type {type(part).__name__})"
            )
        length = max((len(values) for values in entries.values()), default=0)
        first = (getattr(part, "epoch", None) or [0])[0]  # not 0 after `fit(initial_epoch=...)`
        start = max(start, first)
        for key, values in entries.items():
            epochs, joined = curves.setdefault(key, ([], []))
            epochs += [start + length * (i + 1) / len(values) for i in range(len(values))]
            joined += [float(value) for value in values]
        start += length
    if not any(values for _, values in curves.values()):
        raise ValueError("`history` is empty. Expected at least one epoch. Received: no values")
    return curves


def entry_names(curves: Iterable[str]) -> list[str]:
    """Return the entries without those of validation (`val_`), in their order."""
    return list(dict.fromkeys(key.removeprefix("val_") for key in curves))


def default_panels(names: list[str]) -> dict[str, list[str]]:
    """Return the entries of each panel by what is in their names; panels may be empty."""
    panels = {
        panel: [name for name in names if any(part in name for part in parts)]
        for panel, parts in _PANELS.items()
    }
    drawn = {name for entries in panels.values() for name in entries}
    panels["other"] = [name for name in names if name not in drawn]
    return panels
