"""Search a folder of images: an index, near duplicates, outliers and a map.

    python examples/search_images.py photos
    python examples/search_images.py --query another.jpg
    python examples/search_images.py photos --encoder clip.keras --text-model text_tower.keras \
        --text "a smiling cat"

All images of the folder and the folders in it are read, whatever Pillow can open, cut to squares of
one size. Files that cannot be read are named and left out. Features are those of `--encoder`, a
`.keras` file of any model from images, as examples/simclr.py writes it, or of a `trainers.CLIP`, of
which the tower of images is taken. Without it, a small network learns from the images by SimCLR,
which takes minutes for a thousand of them on two cores; a run that was killed goes on when it is
started again with the same arguments.

It writes the encoder, an `evaluate.SearchIndex`, a table of all files with their nearest one, their
group of near duplicates and how far they are from all others, and pictures: some images with their
nearest ones, the near duplicates, the outliers, and a map on which similar images are near each
other, in colors of the folders if there are some. With `--query` it finds the images nearest to
others, and with `--text` those nearest to texts; for these the features must be those of an image
tower, and `--text-model` a `text.TextModel` of the text tower trained with it, as
examples/text_to_emoji.py writes them. Without a folder, queries go to what `--output` holds.
"""

import argparse
import json
import shutil
from pathlib import Path

import _runs as runs
import keras
import numpy as np
import tensorflow as tf
from _text_runs import warm_up_and_cosine

from keras_ssl import (
    augment,
    callbacks,
    distribute,
    evaluate,
    layers,
    networks,
    trainers,
    visualize,
)

parser = argparse.ArgumentParser(
    description="Search in a folder of images.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("folder", type=Path, nargs="?", help="folder of images; without it, that of the last run")
add("--query", type=Path, nargs="*", default=[], help="images to find the nearest of")
add("--text", nargs="*", default=[], help="texts to find the nearest images of")
add("--encoder", type=Path, help=".keras file of a model from images, or of a CLIP")
add("--text-model", type=Path, help=".keras file of a text.TextModel of CLIP's text tower")
add("--size", type=int, default=64, help="height and width, unless the encoder has one")
add("--width", type=int, default=24, help="channels of the network that learns")
add("--epochs", type=int, default=40)
add("--batch-size", type=int, default=128, help="images, over all replicas")
add("--learning-rate", type=float, default=2e-3)
add("--duplicates", type=float, default=0.98, help="smallest cosine of near duplicates")
add("--neighbors", type=int, default=8, help="how many to find, and to compare an outlier with")
add("--shown", type=int, default=8, help="rows of pictures")
runs.add_run_arguments(parser, "runs/search_images")
arguments = parser.parse_args()

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def read_image(path: Path) -> np.ndarray:
    """Return an image on white, cut to a square of the size of the run."""
    image = keras.utils.load_img(
        path, color_mode="rgba", target_size=(size, size), keep_aspect_ratio=True
    )
    pixels = np.asarray(image, "float32")
    opacity = pixels[..., 3:] / 255
    return np.round(pixels[..., :3] * opacity + 255 * (1 - opacity)).astype("uint8")


def read_images(paths: list[Path]) -> tuple[np.ndarray, list[Path]]:
    """Return the images that can be read, and their paths; print the others."""
    images, read, failed = [], [], []
    for path in paths:
        try:
            images.append(read_image(path))
            read.append(path)
        except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises
            failed.append(path)
            print(f"cannot read {path}: {error}")
    if failed:
        print(f"{len(failed)} of {len(paths)} files cannot be read and are left out")
    return np.array(images).reshape(-1, size, size, 3), read


def load_encoder(path: Path) -> keras.Model:
    """Return the model from images in a file."""
    model = keras.saving.load_model(path)
    return model.tower("image") if isinstance(model, trainers.CLIP) else model


def input_shape_of(model: keras.Model) -> tuple | None:
    """Return what a model, or the encoder of a tower, takes, if it is known."""
    shape = getattr(model, "input_shape", None)
    return getattr(model.encoder, "input_shape", None) if hasattr(model, "encoder") else shape


def features_of(images: np.ndarray) -> np.ndarray:
    """Return the features of images."""
    return evaluate.extract_features(encoder, images)[0]


def answer(title: str, vectors: np.ndarray, path: Path, query: np.ndarray | None = None) -> None:
    """Print and draw the images that are nearest to a query."""
    cosines, ids = (one[0] for one in index.query(vectors, min(arguments.neighbors, len(index))))
    print(f"\nNearest to {title}:")
    rows = [
        {"file": files[one], "cosine": f"{cosine:.3f}"}
        for one, cosine in zip(ids, cosines, strict=True)
    ]
    print(runs.table(rows))
    found = read_images([Path(files[one]) for one in ids])[0]
    if query is not None:
        found = np.concatenate([query, found])
    visualize.plot_samples(found, columns=len(found), path=path)


strategy = runs.start(arguments)
output = arguments.output
if arguments.text and arguments.text_model is None:
    parser.error("--text needs --text-model, the text tower that the encoder was trained with")
for given in (arguments.encoder, arguments.text_model, *arguments.query):
    if given is not None and not given.is_file():
        parser.error(f"there is no file {given}")

if arguments.folder is None:
    # What the last run has found
    if not (output / "index.npz").is_file():
        parser.error(f"a folder of images is needed: there is no index in {output}")
    settings = json.loads((output / "files.json").read_text())
    size, files = settings["size"], settings["files"]
    encoder = load_encoder(output / "encoder.keras")
    index = evaluate.SearchIndex.load(output / "index.npz")
else:
    # Data: all images of the folder
    encoder, size = None, arguments.size
    if arguments.encoder is not None:
        encoder = load_encoder(arguments.encoder)
        shape = input_shape_of(encoder)
        if shape is not None and (len(shape) != 4 or shape[-1] != 3):
            parser.error(f"--encoder must take images with 3 channels; it takes {shape}")
        size = (shape and shape[1]) or size
    if not arguments.folder.is_dir():
        parser.error(f"there is no folder {arguments.folder}")
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    images, paths = read_images(paths)
    files = [str(path) for path in paths]
    least = max(8, arguments.neighbors + 1)
    if len(images) < least:
        parser.error(f"{arguments.folder} has {len(images)} images, and {least} are needed")
    print({"images": len(images), "size": size})
    output.mkdir(parents=True, exist_ok=True)

    # Method: two views of an image are alike, if no encoder is given
    if encoder is None:
        batch_size = min(arguments.batch_size, len(images))
        batches = (
            tf.data.Dataset.from_tensor_slices(images)
            .shuffle(len(images), seed=arguments.seed)
            .batch(batch_size, drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )
        with strategy.scope():
            trainer = trainers.SimCLR(
                networks.small_resnet((size, size, 3), arguments.width),
                layers.ProjectionHead([128, 64]),
                augment.SimCLRViews(size, scale=(0.3, 1.0), strength=0.5, blur_probability=0.0),
            )
            steps = arguments.epochs * len(batches)
            rate = warm_up_and_cosine(arguments.learning_rate, steps, steps // 10)
            trainer.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4))
        history = trainer.fit(
            batches,
            epochs=arguments.epochs,
            callbacks=[callbacks.BackupAndResume(output / "backup")],
            verbose=2,
        )
        if not distribute.is_chief(strategy):
            raise SystemExit  # what is left, the chief does alone
        visualize.plot_history(history, path=output / "curves.png")
        encoder = trainer.encoder

    # Product: index, duplicates, outliers, a map and a table
    features = features_of(images)
    encoder.save(output / "encoder.keras")
    index = evaluate.SearchIndex(features.shape[1])
    index.add(features)
    index.save(output / "index.npz")
    (output / "files.json").write_text(json.dumps({"size": size, "files": files}))
    cosines, near = index.query(features, 2)
    # the nearest but the image itself, which an equal one may come before
    is_itself = near[:, 0] == np.arange(len(images))
    cosines, near = (np.where(is_itself, one[:, 1], one[:, 0]) for one in (cosines, near))
    groups = evaluate.near_duplicates(features, arguments.duplicates)
    group_of = np.zeros(len(images), int)
    for number, group in enumerate(groups, start=1):
        group_of[group] = number
    scores = evaluate.knn_anomaly_scores(features, k=arguments.neighbors, metric="cosine")
    outliers = np.argsort(-scores)[: arguments.shown]

    lines = [["file", "nearest", "cosine", "group of duplicates", "outlier score"]] + [
        [files[n], files[near[n]], f"{cosines[n]:.4f}", str(group_of[n] or ""), f"{scores[n]:.4f}"]
        for n in range(len(images))
    ]
    text = "".join("\t".join(line) + "\n" for line in lines)
    (output / "images.tsv").write_text(text, encoding="utf-8")
    queries = np.linspace(0, len(images) - 1, arguments.shown).astype(int)
    visualize.plot_neighbors(
        images, features, queries, arguments.neighbors, path=output / "neighbors.png"
    )
    if groups:
        sheet = np.full((min(arguments.shown, len(groups)), 8, *images.shape[1:]), 255, "uint8")
        for row, group in zip(sheet, groups, strict=False):
            row[: len(group)] = images[group[:8]]
        sheet = sheet.reshape(-1, *images.shape[1:])
        visualize.plot_samples(sheet, columns=8, path=output / "duplicates.png")
    visualize.plot_samples(images[outliers], path=output / "outliers.png")
    folders = np.array([path.relative_to(arguments.folder).parts[0] for path in paths])
    is_in_folder = np.array([path.parent != arguments.folder for path in paths])
    kinds = np.unique(folders[is_in_folder])
    labels = np.where(is_in_folder, np.searchsorted(kinds, folders).clip(0, len(kinds)), -1)
    visualize.plot_embedding(
        features,
        labels if 1 < len(kinds) <= 40 else None,
        kinds.tolist() or None,
        path=output / "map.png",
    )
    report = {
        "images": len(images),
        "groups of duplicates": len(groups),
        "images in them": int(np.sum(group_of > 0)),
    }
    print(runs.table([report]))
    outlying = [{"outlier": files[n], "score": f"{scores[n]:.3f}"} for n in outliers]
    print(runs.table(outlying))
    if (output / "backup").exists():
        shutil.rmtree(output / "backup")
    print(f"The encoder, index, table and pictures are in {output.resolve()}")

# Queries
queried, paths = read_images(arguments.query)
for number, (image, path) in enumerate(zip(queried, paths, strict=True), start=1):
    answer(str(path), features_of(image[None]), output / f"query_{number}.png", image[None])
if arguments.text:
    vectors = keras.saving.load_model(arguments.text_model).predict_texts(arguments.text)
    for number, (one, vector) in enumerate(zip(arguments.text, vectors, strict=True), start=1):
        answer(repr(one), vector[None], output / f"text_{number}.png")
