"""The images that the commands read: a folder, a file of arrays, or a set of TFDS."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ssl import data
from keras_ssl.cli._examples import Examples, load_arrays, without_label

# height and width of the images of a folder, where none is asked for
_FOLDER_SIZE = 64


@dataclass
class Images(Examples):
    """Images of one size: uint8, of height, width and channels.

    Attributes:
        folder: the `data.ImageFolder` that they come from, if it is one.
    """

    folder: data.ImageFolder | None = None

    def training_batches(
        self, batch_size: int, with_labels: bool, with_index: bool
    ) -> tf.data.Dataset:
        """Return shuffled batches of one size, of what a method reads."""
        if self.folder is None or with_index or with_labels > self.has_labels:
            return super().training_batches(batch_size, with_labels, with_index)
        batches = self.folder.batches(batch_size, shuffle=True, drop_remainder=True)
        return batches if with_labels else batches.map(without_label)

    def arrays(self, rows: Sequence[int]) -> np.ndarray:
        """Return some of the images as an array."""
        return super().arrays(rows) if self.folder is None else self.folder.images(rows)


def read_images(source: str, split: str, size: int | None, channels: int | None) -> Images:
    """Read images of one size.

    Args:
        source: a folder, a `.npy` or `.npz` file, or the name of a set.
        split: split of a set.
        size: height and width; `None` for those of the images, or 64 for a folder.
        channels: number of channels of the images of a folder, 3 by default.
    """
    if Path(source).is_dir():
        return _of_folder(source, size or _FOLDER_SIZE, channels or 3)
    is_file = source.endswith((".npy", ".npz"))
    images = _resized(_of_arrays(source) if is_file else _of_set(source, split), size)
    if channels not in (None, images.shape[-1]):
        raise ValueError(
            f"the images must have {channels} channels. Received: --data {source} with "
            f"{images.shape[-1]}"
        )
    return images


def read_files(files: Sequence[str], size: int, channels: int) -> np.ndarray:
    """Return image files as an array of images of one size, as those of a folder."""
    images = []
    for file in map(Path, files):
        if not file.is_file():
            raise ValueError(f"there is no file {str(file)!r}")
        with tempfile.TemporaryDirectory() as folder:  # of this file alone
            shutil.copy(file, folder)
            images.append(data.image_folder(folder, size, channels).images()[0])
    return np.stack(images)


def _of_folder(path: str, size: int, channels: int) -> Images:
    try:  # without labels if an image lies in no subfolder, which is found before any is read
        folder = data.image_folder(path, image_size=size, channels=channels, labels=True)
    except ValueError:
        folder = data.image_folder(path, image_size=size, channels=channels)
    return Images(
        folder.examples(), folder.shape, len(folder), folder.files, folder.class_names, folder
    )


def _of_arrays(path: str) -> Images:
    """Read an array of images, or a file with the arrays `x` and, if there are labels, `y`."""
    arrays = load_arrays(path)
    x = arrays["x"]
    if x.ndim != 4 or x.dtype != np.uint8 or not len(x):
        raise ValueError(
            "arrays of images must be uint8 of shape (n, height, width, channels) with values from "
            f"0 to 255. Received: {x.dtype} of shape {x.shape} in {path}"
        )
    examples = tf.data.Dataset.from_tensor_slices((x, arrays["y"]) if "y" in arrays else x)
    return Images(examples, x.shape[1:], len(x), [f"{path}[{n}]" for n in range(len(x))])


def _of_set(name: str, split: str) -> Images:
    try:
        examples = data.load_images(name, split)
    except (ValueError, FileNotFoundError) as error:
        if "/" in name or "." in name:
            raise ValueError(f"there is no folder {name!r}, and no such set: {error}") from None
        raise
    spec = examples.element_spec
    if len(spec) == 1:
        examples = examples.map(without_label)
    count = int(examples.cardinality())
    try:
        classes = data.class_names(name)
    except ValueError:
        classes = None
    files = [f"{name}/{split}[{number}]" for number in range(count)]
    return Images(examples, tuple(spec[0].shape), count, files, classes)


def _resized(images: Images, size: int | None) -> Images:
    """Bring images to squares of one size, if they are not."""
    height, width, channels = images.shape
    if height == width and height is not None and size in (None, height):
        return images
    size = size or _FOLDER_SIZE
    resize = keras.layers.Resizing(size, size, crop_to_aspect_ratio=True, dtype="float32")

    def resized(image: Any, *label: Any) -> Any:
        pixels = tf.cast(tf.round(resize(image)), "uint8")
        return (pixels, *label) if label else pixels

    examples = images.examples.map(resized, num_parallel_calls=tf.data.AUTOTUNE)
    return Images(examples, (size, size, channels), images.count, images.files, images.classes)
