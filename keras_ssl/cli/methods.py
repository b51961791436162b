"""`keras-ssl methods`: all trainers, with their papers."""

import argparse
from collections.abc import Sequence

from keras_ssl.cli._names import find
from keras_ssl.cli._parser import refuse
from keras_ssl.cli._registry import family, papers, trainer_classes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """List all methods: family, what they learn from, papers."""
    parser.add_argument("--family", help="only those of one family")


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Print one line per method and paper."""
    refuse(rest, arguments.parser.options())
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
