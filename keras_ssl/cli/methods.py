"""`keras-ssl methods`: all trainers, with their papers."""

import argparse

from keras_ssl.cli._names import find
from keras_ssl.cli._registry import family, papers, trainer_classes


def run(arguments: argparse.Namespace) -> None:
    """Print one line per method and paper."""
    classes = trainer_classes()
    families = {family(one): family(one) for one in classes.values()}
    wanted = arguments.family and find("family", arguments.family, families)
    rows = [("method", "family", "learns from", "paper")]
    for name, trainer in classes.items():
        if wanted not in (None, family(trainer)):
            continue
        first, *others = [str(paper) for paper in papers(trainer)] or [""]
        rows.append((name, family(trainer), trainer.learns_from, first))
        rows += [("", "", "", other) for other in others]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
