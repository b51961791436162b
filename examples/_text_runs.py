"""What the examples on text share: the schedule of the learning rate, and files of columns."""

import argparse
import csv
import gzip
import os
from pathlib import Path

import numpy as np
from keras.optimizers.schedules import CosineDecay


def warm_up_and_cosine(
    rate: float, steps: int, warmup_steps: int, last_rate: float = 0.0
) -> CosineDecay:
    """Return a learning rate that rises to `rate`, and then falls to `last_rate`."""
    warmup_steps = min(warmup_steps, steps // 2)
    return CosineDecay(
        0.0,
        steps - warmup_steps,
        alpha=last_rate / rate,
        warmup_target=rate,
        warmup_steps=warmup_steps,
    )


def read_columns(path: Path) -> list[list[str]]:
    """Return the rows of a file of tab-separated columns, plain or compressed by gzip."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_sentences(
    parser: argparse.ArgumentParser, folder: Path | None
) -> dict[str, tuple[list[str], np.ndarray]]:
    """Return the sentences of each part of a set, and their labels as integers from 0."""
    if folder is None and (shared := os.environ.get("KERAS_SSL_DATA_DIR")):
        folder = Path(shared) / "sst2"
    parts = {}
    for part in ("train", "dev", "test"):
        if folder is None or not (folder / f"{part}.tsv").is_file():
            parser.error(
                f"there is no {part}.tsv in the folder {folder}; the head of this script says what "
                "it holds"
            )
        rows = read_columns(folder / f"{part}.tsv")
        rows = rows[1:] if rows[:1] == [["sentence", "label"]] else rows
        if wrong := [n for n, row in enumerate(rows, start=1) if len(row) != 2]:
            parser.error(f"row {wrong[0]} of {part}.tsv is not a sentence and its label")
        parts[part] = [row[0] for row in rows], [row[1] for row in rows]
    names = sorted(set(parts["train"][1]))
    if strange := sorted({*parts["dev"][1], *parts["test"][1]} - set(names)):
        parser.error(f"dev.tsv and test.tsv have labels that train.tsv has not: {strange}")
    return {
        part: (texts, np.array([names.index(one) for one in labels]))
        for part, (texts, labels) in parts.items()
    }
