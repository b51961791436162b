"""`keras-ssl embed`: the features of images, in a file and as a map."""

import argparse
from pathlib import Path

import numpy as np

from keras_ssl import evaluate, visualize
from keras_ssl.cli._images import Images
from keras_ssl.cli._run import Run


def run(arguments: argparse.Namespace) -> None:
    """Write features, names of files and labels, and a page with a map beside them."""
    path = Path(arguments.out)
    if path.suffix != ".npz":
        raise ValueError(f"--out must end in .npz. Received: {arguments.out}")
    if path.exists():
        raise ValueError(f"--out {arguments.out} exists already: nothing is overwritten")
    run = Run(arguments.folder)
    trainer = run.load()
    found = run.read_data(arguments.data, arguments.split)
    features, labels = evaluate.extract_features(trainer, found.batches())
    arrays = {"features": features, "files": np.array(found.files)}
    if labels is not None:
        arrays["labels"] = labels
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    page = visualize.write_report(
        path.with_suffix(".html"),
        f"Features of {arguments.data}",
        features=features,
        images=found.arrays if isinstance(found, Images) else None,
        labels=labels,
        class_names=found.classes,
        names=found.files,
    )
    print(f"{features.shape[0]} vectors of {features.shape[1]} features are in {path}")
    print(f"A map of them is in {page}")
