"""What the examples share: how and where to run, and tables."""

import argparse
from pathlib import Path
from typing import Any

import keras

from keras_ssl import distribute


def add_run_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """Add the arguments that say how and where to run; `output` is the default folder."""
    add = parser.add_argument
    add("--strategy", choices=distribute.STRATEGIES, default="auto", help="which devices to use")
    add("--replicas", type=int, help="split the CPU into this many devices, to try mirrored")
    add("--precision", choices=["float32", "mixed_float16", "mixed_bfloat16"], default="float32")
    add("--seed", type=int, default=0)
    add("--output", type=Path, default=Path(output), help="folder for all that is written")


def start(arguments: argparse.Namespace) -> Any:
    """Return the strategy, and set precision and seeds.

    Call it before all else: workers wait for each other here, and TensorFlow is set up for them.
    """
    strategy = distribute.devices(arguments.strategy, arguments.replicas, seed=arguments.seed)
    keras.config.set_dtype_policy(arguments.precision)
    return strategy


def table(rows: list[dict]) -> str:
    """Return rows as a table of Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(one) for one in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
