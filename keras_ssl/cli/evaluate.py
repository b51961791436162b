"""`keras-ssl evaluate`: what the features of a run are worth."""

import argparse
from collections.abc import Sequence

import numpy as np

from keras_ssl import evaluate
from keras_ssl.cli._images import Images, add_data_arguments
from keras_ssl.cli._parser import refuse
from keras_ssl.cli._run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Compare the features of a run with raw pixels and an untrained encoder, by labels."""
    parser.add_argument("folder", metavar="RUN", help="folder of a run of `keras-ssl pretrain`")
    add_data_arguments(parser)
    add = parser.add_argument
    add("--test-data", metavar="DATA", help="images to test on, else a part of --data")
    add("--test-split", help="split of a set to test on, else a part of --split")
    add("--test-share", type=float, default=0.2, help="size of that part (%(default)s)")
    add("--neighbors", type=int, default=20, help="of the k-NN classifier (%(default)s)")
    add("--labels-per-class", type=int, help="also probe with only so many labels per class")
    add("--seed", type=int, default=0, help="of that part and the untrained encoder (%(default)s)")


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Print a table, and write it into the folder of the run."""
    refuse(
        rest,
        [
            "--data",
            "--split",
            "--test-data",
            "--test-split",
            "--test-share",
            "--neighbors",
            "--labels-per-class",
            "--seed",
        ],
    )
    run = Run(arguments.folder)
    trainer = run.load()
    train, test = _splits(arguments, run)
    report = evaluate.representation_report(
        trainer,
        train,
        test,
        k=min(arguments.neighbors, len(train[0])),
        labels_per_class=arguments.labels_per_class,
        seed=arguments.seed,
        verbose=0,
    )
    path = run.write_results("evaluation", report)
    print(report)
    print(f"The table is in {path}")


def _splits(arguments: argparse.Namespace, run: Run) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return images and labels to learn from and to test on."""
    x, y = _labelled(run.read_images(arguments.data, arguments.split))
    if arguments.test_data is not None or arguments.test_split is not None:
        source = arguments.test_data or arguments.data
        split = arguments.test_split or arguments.split
        return [(x, y), _labelled(run.read_images(source, split))]
    if not 0 < arguments.test_share < 1:
        raise ValueError(f"--test-share must be in (0, 1). Received: {arguments.test_share}")
    order = np.random.default_rng(arguments.seed).permutation(len(x))
    cut = max(1, round(arguments.test_share * len(x)))
    return [(x[part], y[part]) for part in (np.sort(order[cut:]), np.sort(order[:cut]))]


def _labelled(images: Images) -> tuple[np.ndarray, np.ndarray]:
    if not images.has_labels:
        raise ValueError(
            "--data must have labels: a folder with one subfolder per class, a file with `y`, or "
            "a set with labels"
        )
    batches = list(images.batches().as_numpy_iterator())
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))
