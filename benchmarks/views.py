"""Pairs of SimCLR's views per second: ours, Lightly's `SimCLRTransform`, and Keras' own layers.

All three make two views of the same CIFAR-10 images, resized where views are larger:

- `keras_ssl`: uint8 images batched by `tf.data`, then `augment.SimCLRViews` in a `tf.function`,
  as a trainer calls it. A second row has it compiled by XLA.
- `lightly`: PIL images through `SimCLRTransform` in a DataLoader with two workers.
- `keras layers`: uint8 images batched by `tf.data`, whose parallel `map` calls Keras' nearest
  layers twice. Keras has no random resized crop; `RandomZoom` stands for it, one resampling of
  the image as there.

Each side ends with two batches of float32 views in memory.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from measure import Peer, interleave, machine, medians, print_machine, print_table

from keras_ssl.augment import SimCLRViews
from keras_ssl.data import load_images

AIMS = {32: {"lightly": 15.0, "keras layers": 5.0}, 96: {"lightly": 5.0}}


def real_images(count: int, size: int) -> np.ndarray:
    """CIFAR-10 images, uint8, resized to `size`."""
    batch = next(iter(load_images("cifar10", f"train[:{count}]").batch(count)))[0]
    if size != 32:
        batch = tf.image.resize(batch, (size, size))
    return np.clip(np.round(batch), 0, 255).astype("uint8")


def batches(images: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """Shuffled uint8 batches out of memory, gathered whole, as `fit` does with arrays."""
    order = tf.data.Dataset.range(len(images)).shuffle(len(images))
    order = order.batch(batch_size, drop_remainder=True)
    held = tf.constant(images)  # an array would be copied into the graph, and again each batch
    return order.map(lambda rows: tf.gather(held, rows))


def pairs_per_second(dataset: tf.data.Dataset, views: Callable, epochs: int) -> float:
    """Pairs per second over some epochs; reading a value back waits for each batch.

    All epochs come from one iterator: these are short ones, and starting it would count too much.
    """
    pairs = 0
    start = time.perf_counter()
    for batch in dataset.repeat(epochs):
        first, second = views(batch)
        first[0, 0, 0].numpy()
        second[0, 0, 0].numpy()
        pairs += len(first)
    return pairs / (time.perf_counter() - start)


def mapped_pairs_per_second(dataset: tf.data.Dataset) -> float:
    """Pairs per second of a dataset that already holds the views."""
    pairs = 0
    start = time.perf_counter()
    for first, _ in dataset:
        pairs += len(first)
    return pairs / (time.perf_counter() - start)


def keras_layers() -> Callable:
    """One view by the nearest layers of Keras, in SimCLR's strengths where they can be said."""
    layers = [
        keras.layers.RandomZoom((-0.7, 0.0), (-0.7, 0.0)),
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomColorJitter(
            brightness_factor=0.8,
            contrast_factor=0.8,
            saturation_factor=(0.1, 0.9),
            hue_factor=0.2,
        ),
        keras.layers.RandomGrayscale(0.2),
        keras.layers.RandomGaussianBlur(0.5, kernel_size=5, sigma=(0.1, 1.0)),
    ]

    def view(x: tf.Tensor) -> tf.Tensor:
        for layer in layers:
            x = layer(x, training=True)
        return x

    return view


def compare(size: int, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Measurements of each contender, pairs per second, at one size."""
    images = real_images(arguments.images, size)
    dataset = batches(images, arguments.batch_size)
    views = SimCLRViews(size)
    plain, compiled = tf.function(views), tf.function(views, jit_compile=True)
    view = keras_layers()
    theirs = batches(images, arguments.batch_size)
    theirs = theirs.map(lambda x: (view(x), view(x)), num_parallel_calls=2).prefetch(1)

    with Peer("views_lightly.py") as peer, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, images)
        peer.ask(
            "set_up",
            images=str(path),
            size=size,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
        )
        if size == arguments.sizes[0]:
            print_machine(peer)
        # our rounds are repeated so that no contender's timing is a matter of milliseconds
        return interleave(
            {
                "keras_ssl": lambda: pairs_per_second(dataset, plain, arguments.epochs),
                "keras_ssl (XLA)": lambda: pairs_per_second(dataset, compiled, arguments.epochs),
                "lightly": lambda: peer.ask("pairs_per_second"),
                "keras layers": lambda: mapped_pairs_per_second(theirs),
            },
            repeats=arguments.repeats,
        )


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96])
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2, help="of Lightly's DataLoader")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4, help="of ours in each measurement")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    results = {}
    for size in arguments.sizes:
        measured = compare(size, arguments)
        middle = medians(measured)
        print(f"\nviews of {size}x{size}, batches of {arguments.batch_size}, pairs per second")
        print_table(middle, per="lightly", unit="pairs/s")
        for peer, aim in AIMS.get(size, {}).items():
            print(f"keras_ssl / {peer}: {middle['keras_ssl'] / middle[peer]:.1f} (aim: {aim:g})")
        results[str(size)] = {"pairs_per_second": measured, "medians": middle}
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "results": results}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
