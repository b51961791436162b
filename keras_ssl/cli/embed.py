"""`keras-ssl embed`: the features of images, in a file and as a map."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_ssl import evaluate, visualize
from keras_ssl.cli._images import add_data_arguments
from keras_ssl.cli._parser import refuse
from keras_ssl.cli._run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Write the features of images to a file, and a map of them to look at."""
    parser.add_argument("folder", metavar="RUN", help="folder of a run of `keras-ssl pretrain`")
    add_data_arguments(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="file of features, .npz")


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Write features, names of files and labels, and a page with a map beside them."""
    refuse(rest, arguments.parser.options())
    path = Path(arguments.out)
    if path.suffix != ".npz":
        raise ValueError(f"--out must end in .npz. Received: {arguments.out}")
    if path.exists():
        raise ValueError(f"--out {arguments.out} exists already: nothing is overwritten")
    run = Run(arguments.folder)
    trainer = run.load()
    images = run.read_images(arguments.data, arguments.split)
    features, labels = evaluate.extract_features(trainer, images.batches())
    arrays = {"features": features, "files": np.array(images.files)}
    if labels is not None:
        arrays["labels"] = labels
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    page = visualize.write_report(
        path.with_suffix(".html"),
        f"Features of {arguments.data}",
        features=features,
        images=images.arrays,
        labels=labels,
        class_names=images.classes,
        names=images.files,
    )
    print(f"{features.shape[0]} vectors of {features.shape[1]} features are in {path}")
    print(f"A map of them is in {page}")
