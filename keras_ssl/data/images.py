"""Labelled images of the embedded set and of TensorFlow Datasets."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl.data import _fashion_mnist_mini as fashion_mnist_mini
from keras_ssl.data._fashion_mnist_mini import split_ranges
from keras_ssl.data._prepared import find_or_download, quiet

if TYPE_CHECKING:
    import tensorflow as tf


def load_images(
    name: str, split: str, data_dir: str | PathLike[str] | None = None
) -> tf.data.Dataset:
    """Load labelled images as an unbatched `tf.data.Dataset`.

    `"fashion_mnist_mini"` is part of this package and needs no network: 10,000 training and 5,000
    test images of Fashion-MNIST, 28x28 and gray, in ten classes of equal size. Every other name is
    a set of TensorFlow Datasets (TFDS), such as `"cifar10"` or `"imagenet_resized/32x32"`.

    A TFDS set that has been prepared is read from disk without network access. It is searched in
    `data_dir` or, if that is `None`, in the folder of the environment variable
    `KERAS_SSL_DATA_DIR` and then in TFDS's own (`TFDS_DATA_DIR` or `~/tensorflow_datasets`). If a
    folder has a subfolder `tfds`, that is searched instead. A set that is not found is downloaded
    by TFDS to the first of these folders.

    The images come in stored order, so shuffle them before training.

    Args:
        name: `"fashion_mnist_mini"` or a TFDS name, optionally with config (`"name/config"`) and
            version (`"name:1.0.0"`). Without a version, the newest prepared one is read.
        split: a TFDS split: `"train"`, `"test[:1000]"`, `"train[50%:]"`, `"train+test"`.
        data_dir: folder to search and to download to instead of the default ones, also on cloud
            storage (`"gs://..."`). Not used for `"fashion_mnist_mini"`.

    Returns:
        `tf.data.Dataset` of `(image, label)`: a uint8 image of shape `(height, width, channels)`
        with values from 0 to 255, and an int64 scalar. If all images have one size, the shapes in
        `element_spec` are static. The cardinality is known. Without a feature named `"label"`,
        the elements are `(image,)`.

    Raises:
        ValueError: if there is no such set (similar names are listed) or split, the split is
            empty, or the set has no uint8 `"image"` with a scalar `"label"`.
        FileNotFoundError: if the set is in none of the folders and cannot be downloaded.

    Example:

    >>> from keras_ssl import data
    >>> images = data.load_images("fashion_mnist_mini", "train[:1000]")
    >>> images.element_spec[0]
    TensorSpec(shape=(28, 28, 1), dtype=tf.uint8, name=None)
    >>> len(images)
    1000
    >>> batches = images.shuffle(1000).batch(256, drop_remainder=True)

    Reference:
        - [TensorFlow Datasets](https://www.tensorflow.org/datasets/catalog/overview)
        - [Fashion-MNIST (Xiao et al., 2017)](https://arxiv.org/abs/1708.07747)
    """
    import tensorflow as tf

    _check_strings(name=name, split=split)
    if name == fashion_mnist_mini.NAME:
        return tf.data.Dataset.from_tensor_slices(fashion_mnist_mini.read_arrays(split))

    import tensorflow_datasets as tfds

    builder = find_or_download(name, data_dir)
    split_ranges(split, builder.info.splits)
    keys = _image_keys(name, dict(builder.info.features.items()))
    # do not decode other features
    decoders = tfds.decode.PartialDecoding(dict.fromkeys(keys, True))
    with quiet("absl"):  # TFDS warns that it uses a deprecated name itself
        dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)

    def as_tuple(example: dict[str, Any]) -> tuple:
        image, *label = (example[key] for key in keys)
        return (image, *(tf.cast(x, tf.int64) for x in label))

    return dataset.map(as_tuple, num_parallel_calls=tf.data.AUTOTUNE)


def class_names(name: str, data_dir: str | PathLike[str] | None = None) -> list[str]:
    """Return the names of the classes of an image set, in the order of its labels.

    Args:
        name: as in `load_images`.
        data_dir: as in `load_images`.

    Returns:
        List with one string per class.

    Raises:
        ValueError: if there is no such set or its labels have no names.
        FileNotFoundError: if the set is in none of the folders and cannot be downloaded.

    Example:

    >>> from keras_ssl import data
    >>> data.class_names("fashion_mnist_mini")[:3]
    ['T-shirt/top', 'Trouser', 'Pullover']
    """
    _check_strings(name=name)
    if name == fashion_mnist_mini.NAME:
        return list(fashion_mnist_mini.CLASS_NAMES)
    label = dict(find_or_download(name, data_dir).info.features.items()).get("label")
    if getattr(label, "names", None) is None:
        raise ValueError(
            f"The labels of {name!r} have no names. Expected a set with a feature 'label' of type "
            f"ClassLabel. Received: label={label}"
        )
    return list(label.names)


def _check_strings(**arguments: Any) -> None:
    for key, value in arguments.items():
        if not isinstance(value, str) or not value:
            raise ValueError(f"`{key}` must be a non-empty string. Received: {key}={value!r}")


def _image_keys(name: str, features: dict[str, Any]) -> list[str]:
    """Return the names of the features to read: the image and, if there is one, the label."""
    import numpy as np
    import tensorflow_datasets as tfds

    expected = (
        f"`load_images` reads sets with a feature 'image' (uint8) and a feature 'label' (one "
        f"integer per image). Read {name!r} with `tfds.load` and map it to (image, label). "
        f"Received: features {features}"
    )
    image = features.get("image")
    if not isinstance(image, tfds.features.Image):
        raise ValueError(f"{name!r} has no image named 'image'. {expected}")
    if np.dtype(image.np_dtype) != np.uint8:
        raise ValueError(f"The images of {name!r} are not uint8. {expected}")
    label = features.get("label")
    if label is None:
        return ["image"]
    if label.shape != () or not np.issubdtype(label.np_dtype, np.integer):
        raise ValueError(f"The labels of {name!r} are not one integer per image. {expected}")
    return ["image", "label"]
