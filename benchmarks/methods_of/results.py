"""The results of `benchmarks/methods.py`: a file of runs, and the tables made of it."""

import json
from pathlib import Path
from statistics import fmean, median
from typing import Any

import measure

from methods_of.recipes import EPOCHS, GENERATIVE, RECIPES, SHARED, WIDTHS, is_vit

OURS, PEER = "keras_ssl", "lightly"
AIM_PEER = -1.0
AIM_RANDOM = 5.0
AIM_TIME = 0.8
_SAME_SIZE = 1.02

_KEY = ("side", "seed", "settings")

Row = dict[str, float]


def settings_of(
    method: str, epochs: int | None, images: int, same_start: bool = False
) -> dict[str, Any]:
    """All that a run of a method is set to, whichever side runs it; `None`: the recipe's epochs."""
    if method not in RECIPES:
        return {"method": method, "images": images, "width": WIDTHS.get(method, SHARED["width"])}
    recipe = RECIPES[method]
    settings = {"method": method, "epochs": EPOCHS, "images": images, **SHARED, **recipe}
    settings |= {} if epochs is None else {"epochs": epochs}
    return {**settings, "start": "same"} if same_start else settings


def store(path: Path, run: dict[str, Any]) -> None:
    """Adds a run to the file, in place of an earlier one of the same method, side and settings.

    Raises:
        RuntimeError: if the two sides of a method learn different numbers of parameters. Up to 2 %
            are only reported: Lightly's heads of some methods lack a few biases or a projection.
    """
    runs = measure.store(path, run, _KEY)
    settings = runs[-1]["settings"]
    of_method = [r for r in runs if r["settings"] == settings and "parameters" in r]
    sizes = {r["side"]: r["parameters"] for r in of_method}
    if len(set(sizes.values())) > 1:
        differ = f"The networks of {settings['method']} differ in parameters: {sizes}"
        if max(sizes.values()) > _SAME_SIZE * min(sizes.values()):
            raise RuntimeError(differ)
        print(differ)


def rows(
    path: Path, epochs: int | None, images: int, same_start: bool
) -> dict[str, dict[str, Row]]:
    """By method and side, the means over seeds of runs of this length."""
    runs = json.loads(path.read_text())
    table: dict[str, dict[str, Row]] = {}
    for method in ("raw pixels", *WIDTHS, *RECIPES):
        settings = json.loads(json.dumps(settings_of(method, epochs, images, same_start)))
        for side in (OURS, PEER):
            key = {"side": side, "settings": settings}
            seeds = [_row(run) for run in runs if key.items() <= run.items()]
            if seeds:
                names = {name for row in seeds for name in row}
                means = {n: fmean(row[n] for row in seeds if n in row) for n in names}
                table.setdefault(method, {})[side] = means | {"seeds": len(seeds)}
    return table


def _row(run: dict[str, Any]) -> Row:
    names = ("knn", "linear_probe", "effective_rank", "gigabytes")
    row = {name: run[name] for name in names if name in run}
    if "epochs" in run and run["timed"]:
        seconds = median(epoch["seconds"] for epoch in run["epochs"])
        batch_size = run["settings"]["batch_size"]
        images = run["settings"]["images"] // batch_size * batch_size
        row |= {"seconds": seconds, "images": images / seconds}
    return row


def _cell(row: Row | None, name: str, digits: int) -> str:
    return "" if row is None or name not in row else f"{row[name]:,.{digits}f}"


def _ratio(sides: dict[str, Row]) -> str:
    if any("seconds" not in sides.get(side, {}) for side in (OURS, PEER)):
        return ""
    return f"{sides[OURS]['seconds'] / sides[PEER]['seconds']:.2f}"


def print_summary(table: dict[str, dict[str, Row]]) -> None:
    """Prints a Markdown table with one row per method: measures of its features, and the time."""
    print(
        "| method | seeds | k-NN, % | Lightly's | linear probe, % | Lightly's "
        "| epoch time, of Lightly's |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for method, sides in table.items():
        ours, peer = sides.get(OURS), sides.get(PEER)
        cells = [_cell(side, name, 1) for name in ("knn", "linear_probe") for side in (ours, peer)]
        seeds = ", ".join(f"{row['seeds']}" for row in sides.values())
        print(f"| {' | '.join([method, seeds, *cells, _ratio(sides)])} |")
    print()


def print_details(table: dict[str, dict[str, Row]]) -> None:
    """Prints the other columns, Markdown."""
    print(
        "| method | effective rank | Lightly's | images per second | Lightly's "
        "| peak memory, GB | Lightly's |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    columns = (("effective_rank", 1), ("images", 0), ("gigabytes", 2))
    for method, sides in table.items():
        cells = [
            _cell(sides.get(side), name, digits)
            for name, digits in columns
            for side in (OURS, PEER)
        ]
        print(f"| {' | '.join([method, *cells])} |")
    print()


def print_aims(table: dict[str, dict[str, Row]]) -> None:
    """Prints, by method, what its aims ask and what was reached."""
    for method, sides in table.items():
        if OURS not in sides or method not in RECIPES or method in GENERATIVE:
            continue
        # features of vision transformers are for linear maps rather than for distances
        measure = "linear_probe" if is_vit(method) else "knn"
        other, aim, name = sides.get(PEER), AIM_PEER, "Lightly"
        if other is None:
            name = "random ViT" if is_vit(method) else "random encoder"
            other, aim = table.get(name, {}).get(OURS), AIM_RANDOM
        if other is None:
            continue
        gain = sides[OURS][measure] - other[measure]
        line = f"{method}: {measure} {gain:+.2f} points of {name} (aim: {aim:+g})"
        met = gain >= aim
        pixels = table.get("raw pixels", {}).get(OURS)
        if is_vit(method) and pixels is not None:
            gain = sides[OURS][measure] - pixels[measure]
            line += f", {gain:+.2f} of raw pixels (aim: more)"
            met = met and gain > 0
        if _ratio(sides):
            ratio = sides[OURS]["seconds"] / other["seconds"]
            line += f"; epoch {ratio:.2f} of Lightly's (aim: {AIM_TIME:g})"
            met = met and ratio <= AIM_TIME
        print(f"{line}: {'met' if met else 'MISSED'}")
