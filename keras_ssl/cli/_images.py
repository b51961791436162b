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

# height and width of the images of a folder, where none is asked for
_FOLDER_SIZE = 64
_SHUFFLED = 50_000
# bytes of images of a set that are kept in memory, as of a folder
_CACHED = 2 * 1024**3


@dataclass
class Images:
    """Images of one size, with what is known of them.

    Attributes:
        examples: unbatched `tf.data.Dataset` of uint8 images, or of tuples of image and label.
        shape: height, width and channels.
        count: number of images.
        files: names of their files, or their places in the set.
        classes: names of the classes, if there are any.
        folder: the `data.ImageFolder` that they come from, if it is one.
    """

    examples: tf.data.Dataset
    shape: tuple[int, int, int]
    count: int
    files: list[str]
    classes: list[str] | None = None
    folder: data.ImageFolder | None = None

    @property
    def has_labels(self) -> bool:
        """Whether each image has a label."""
        return isinstance(self.examples.element_spec, tuple)

    def training_batches(
        self, batch_size: int, with_labels: bool, with_index: bool
    ) -> tf.data.Dataset:
        """Return shuffled batches of one size, of what a method reads."""
        if with_labels and not self.has_labels:
            raise ValueError(
                "the method learns from labels, and --data has none: sort the images into one "
                "subfolder per class"
            )
        if self.folder is not None and not with_index:
            batches = self.folder.batches(batch_size, shuffle=True, drop_remainder=True)
            return batches if with_labels else batches.map(_alone)
        examples = self.examples if with_labels else self.examples.map(_alone)
        if with_index:
            examples = data.with_index(examples)
        if self.count * np.prod(self.shape) <= _CACHED:
            examples = examples.cache()
        batches = examples.shuffle(min(self.count, _SHUFFLED))
        return batches.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def batches(self, batch_size: int = 256) -> tf.data.Dataset:
        """Return batches of the images, and labels if there are any, in order."""
        return self.examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def arrays(self, rows: Sequence[int]) -> np.ndarray:
        """Return some of the images as an array."""
        if self.folder is not None:
            return self.folder.images(rows)
        wanted = {int(row) for row in rows}
        images = enumerate(self.examples.map(_alone).take(max(wanted) + 1))
        found = {number: image.numpy() for number, image in images if number in wanted}
        return np.stack([found[int(row)] for row in rows])


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
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path!r}")
    arrays = np.load(path, allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        arrays = {"x": arrays}
    if "x" not in arrays:
        raise ValueError(f"{path} must hold images as `x`. Received: arrays {list(arrays)}")
    x = np.asarray(arrays["x"])
    if x.ndim != 4 or x.dtype != np.uint8 or not len(x):
        raise ValueError(
            "arrays of images must be uint8 of shape (n, height, width, channels) with values from "
            f"0 to 255. Received: {x.dtype} of shape {x.shape} in {path}"
        )
    tensors = (x, np.asarray(arrays["y"], "int64")) if "y" in arrays else x
    examples = tf.data.Dataset.from_tensor_slices(tensors)
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
        examples = examples.map(_alone)
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


def _alone(image: Any, *label: Any) -> Any:
    return image
