"""`keras-ssl search`: the images that are most like a given one."""

import argparse
from pathlib import Path

import numpy as np

from keras_ssl import evaluate, visualize
from keras_ssl.cli._run import Run


def run(arguments: argparse.Namespace) -> None:
    """Print the nearest files, and draw one row of images per query."""
    run = Run(arguments.folder)
    trainer = run.load()
    queries = run.read_files(arguments.query)
    images = run.read_data(arguments.data, arguments.split)
    features, _ = evaluate.extract_features(trainer, images.batches())
    index = evaluate.SearchIndex(features.shape[1])
    index.add(features)
    asked, _ = evaluate.extract_features(trainer, queries)
    cosines, found = index.query(asked, min(arguments.count, len(index)))
    rows = []
    for query, file, ids, values in zip(queries, arguments.query, found, cosines, strict=True):
        print(f"Most like {file}:")
        for number, cosine in zip(ids, values, strict=True):
            print(f"  {cosine:.3f}  {images.files[number]}")
        rows += [query[None], images.arrays(ids)]
    path = Path(arguments.out or run.path / "search.png")
    visualize.plot_samples(np.concatenate(rows), columns=1 + found.shape[1], path=path)
    print(f"The images are in {path}, in each row first the one that was given")
