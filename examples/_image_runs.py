"""What the examples on image sets share: arguments, data, and some pictures."""

import argparse
from pathlib import Path

import keras
import tensorflow as tf
from _runs import add_run_arguments as add_run_arguments
from _runs import start as start
from _runs import table as table

from keras_ssl import data, networks, visualize


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose the images."""
    add = parser.add_argument
    add("--dataset", default="fashion_mnist_mini", help="embedded or TFDS name")
    add("--data-dir", help="folder of prepared TFDS sets")
    add("--train-split", default="train")
    add("--test-split", default="test", help='"validation" for ImageNet')
    add("--resize", type=int, help="size that images are brought to first; needed if they differ")
    add("--size", type=int, default=28, help="height and width of a crop, the larger if of two")
    add("--shuffle-buffer", type=int, default=10_000, help="images")
    add("--batch-size", type=int, default=256, help="over all replicas")


def add_vit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a vision transformer."""
    add = parser.add_argument
    add("--patch-size", type=int, default=4)
    add("--encoder", nargs="+", default=["96", "4", "4"], help="size, or width, blocks and heads")


def load_splits(arguments: argparse.Namespace) -> list[tf.data.Dataset]:
    """Return the images and labels of the training and test split, all of one size."""
    splits = [
        data.load_images(arguments.dataset, split, arguments.data_dir)
        for split in (arguments.train_split, arguments.test_split)
    ]
    size = arguments.resize
    if size is None:
        return splits
    resize = keras.layers.Resizing(size, size, crop_to_aspect_ratio=True, dtype="float32")
    return [
        split.map(
            # bytes again, so that the shuffle buffer holds a quarter of the memory
            lambda x, y: (tf.cast(tf.round(resize(x)), "uint8"), y),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        for split in splits
    ]


def unlabelled_batches(arguments: argparse.Namespace, train: tf.data.Dataset) -> tf.data.Dataset:
    """Return shuffled batches of the images alone, which a method learns from."""
    batches = (
        train.map(lambda x, y: x)
        .shuffle(arguments.shuffle_buffer)
        .batch(arguments.batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )
    if len(batches) == 0:
        raise ValueError(
            f"--batch-size {arguments.batch_size} is larger than the training set: "
            f"{len(train)} images"
        )
    return batches


def center_crops(arguments: argparse.Namespace, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return batches of the centres of images, and their labels, to measure features with."""
    size = arguments.size
    return dataset.map(lambda x, y: (tf.image.resize_with_crop_or_pad(x, size, size), y)).batch(256)


def make_vit(
    arguments: argparse.Namespace, channels: int, **kwargs: object
) -> networks.VisionTransformer:
    """Return a vision transformer that has learned nothing, with other arguments of `vit`."""
    names = arguments.encoder
    size = names[0] if len(names) == 1 else tuple(map(int, names))
    shape = (arguments.size, arguments.size, channels)
    return networks.vit(size, shape, arguments.patch_size, **kwargs)


def plot_masks(
    encoder: networks.VisionTransformer, masking: keras.layers.Layer, images: tf.Tensor, path: Path
) -> None:
    """Draw images as the encoder sees them at two steps, hidden patches gray."""
    rows, columns = encoder.grid(images.shape)
    images = keras.ops.cast(images, "float32")
    seen = []
    for _ in range(2):
        is_hidden = keras.ops.reshape(masking(encoder.embed(images)), (-1, rows, columns, 1))
        for axis, size in enumerate(encoder.patch_size, start=1):
            is_hidden = keras.ops.repeat(is_hidden, size, axis=axis)
        seen.append(keras.ops.where(is_hidden, keras.ops.mean(images), images))
    visualize.plot_views(images, seen, titles=["seen", "seen next time"], path=path)


def plot_class_attention(
    encoder: networks.VisionTransformer, images: tf.Tensor, path: Path
) -> None:
    """Draw what the class token attends to in the last block."""
    grid = encoder.grid(images.shape)
    outputs = encoder.encode(encoder.embed(images), grid, return_attention_scores=True)
    scores = outputs["attention_scores"][-1][:, :, 0, encoder.extra_tokens :]
    visualize.plot_attention(images, scores, grid, path=path)
