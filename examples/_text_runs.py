"""What the examples on text share: the schedule of the learning rate, and files of columns."""

import csv
import gzip
from pathlib import Path

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
