"""`keras-ssl evaluate`: what the features of a run are worth."""

import argparse
from typing import NamedTuple

import numpy as np

from keras_ssl import evaluate
from keras_ssl.cli._examples import Examples
from keras_ssl.cli._images import Images
from keras_ssl.cli._run import Run


def run(arguments: argparse.Namespace) -> None:
    """Print a table, and write it into the folder of the run and its report."""
    run = Run(arguments.folder)
    trainer = run.load()
    train, test = _splits(arguments, run)
    report = evaluate.representation_report(
        trainer,
        (train.x, train.y),
        (test.x, test.y),
        k=min(arguments.neighbors, len(train.x)),
        labels_per_class=arguments.labels_per_class,
        seed=arguments.seed,
        verbose=0,
    )
    path = run.write_results("evaluation", report)
    features, _ = evaluate.extract_features(trainer, test.x)
    run.write_report(
        {"Evaluation": report},
        features=features,
        images=test.x if test.are_images else None,
        labels=test.y,
        class_names=test.classes,
        names=test.names,
    )
    print(report)
    print(f"The table is in {path}, and with a map of the features in {run.report}")


class _Labelled(NamedTuple):
    """Examples, their labels and names, and the names of the classes."""

    are_images: bool
    x: np.ndarray
    y: np.ndarray
    names: list[str]
    classes: list[str] | None

    def part(self, rows: np.ndarray) -> "_Labelled":
        """Return some of the examples."""
        names = [self.names[n] for n in rows]
        return self._replace(x=self.x[rows], y=self.y[rows], names=names)


def _splits(arguments: argparse.Namespace, run: Run) -> tuple[_Labelled, _Labelled]:
    """Return examples to learn from and to test on."""
    train = _labelled(run.read_data(arguments.data, arguments.split))
    if arguments.test_data is not None or arguments.test_split is not None:
        source = arguments.test_data or arguments.data
        split = arguments.test_split or arguments.split
        return train, _labelled(run.read_data(source, split))
    if not 0 < arguments.test_share < 1:
        raise ValueError(f"--test-share must be in (0, 1). Received: {arguments.test_share}")
    order = np.random.default_rng(arguments.seed).permutation(len(train.x))
    cut = max(1, round(arguments.test_share * len(train.x)))
    return train.part(np.sort(order[cut:])), train.part(np.sort(order[:cut]))


def _labelled(examples: Examples) -> _Labelled:
    if not examples.has_labels:
        raise ValueError(
            "the examples must have labels: a folder with one subfolder per class, a file with "
            "`y`, a table that was trained on with --label-column, or a set with labels"
        )
    batches = list(examples.batches().as_numpy_iterator())
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return _Labelled(isinstance(examples, Images), x, y, examples.files, examples.classes)
