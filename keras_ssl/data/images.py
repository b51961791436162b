"""`load_images`: one call for the embedded set and for every TFDS image set."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl.data import fashion_mnist_mini
from keras_ssl.data.prepared import find_or_download
from keras_ssl.data.quiet import quiet
from keras_ssl.data.splits import split_ranges

if TYPE_CHECKING:
    import tensorflow as tf


def load_images(
    name: str, split: str, data_dir: str | PathLike[str] | None = None
) -> tf.data.Dataset:
    """Load a set of labelled images as an unbatched `tf.data.Dataset`.

    `"fashion_mnist_mini"` is part of this package and needs no network: 10,000 training and 5,000
    test images of Fashion-MNIST, 28x28 and gray, ten classes, equally many of each. Every other
    name is a set of TensorFlow Datasets (TFDS), such as `"cifar10"` or `"imagenet_resized/32x32"`.

    A TFDS set is read where it lies prepared, without network. It is looked for in `data_dir`; or,
    with `data_dir=None`, in the folder that the environment variable `KERAS_SSL_DATA_DIR` names
    and then in TFDS's own (`TFDS_DATA_DIR`, or else `~/tensorflow_datasets`). In the first two, a
    subfolder `tfds` is taken when there is one. A set that lies nowhere is downloaded by TFDS
    into the first of these folders.

    The order of the images is the stored one: shuffle before training.

    Args:
        name: `"fashion_mnist_mini"`, or the TFDS name, with config (`"name/config"`) and version
            (`"name:1.0.0"`) where wanted. Without a version the newest prepared one is read.
        split: a TFDS split: `"train"`, `"test[:1000]"`, `"train[50%:]"`, `"train+test"`.
        data_dir: folder to look in and to download to, instead of the default ones. A path on
            cloud storage (`"gs://..."`) works too. Not used for `"fashion_mnist_mini"`.

    Returns:
        `tf.data.Dataset` of `(image, label)`: image uint8 of shape `(height, width, channels)`
        with values from 0 to 255, label an int64 scalar. Where all images have one size, the
        shapes in `element_spec` are static; the cardinality is known. Of a set without a feature
        named `"label"` the elements are `(image,)`.

    Raises:
        ValueError: if there is no set of this name (near names are listed), no such split, the
            split holds nothing, or the set has no uint8 `"image"` with a scalar `"label"`.
        FileNotFoundError: if the set lies in none of the folders and cannot be downloaded.

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
    # what is not asked for is not decoded
    decoders = tfds.decode.PartialDecoding(dict.fromkeys(keys, True))
    with quiet("absl"):  # PartialDecoding warns of TFDS's own use of a deprecated name
        dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)

    def as_tuple(example: dict[str, Any]) -> tuple:
        image, *label = (example[key] for key in keys)
        return (image, *(tf.cast(x, tf.int64) for x in label))

    return dataset.map(as_tuple, num_parallel_calls=tf.data.AUTOTUNE)


def class_names(name: str, data_dir: str | PathLike[str] | None = None) -> list[str]:
    """The names of the classes of an image set, in the order of its labels.

    Args:
        name: as in `load_images`.
        data_dir: as in `load_images`.

    Returns:
        List of one string a class.

    Raises:
        ValueError: if there is no set of this name or its labels have no names.
        FileNotFoundError: if the set lies in none of the folders and cannot be downloaded.

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
    """The features to read: image and, where there is one, label; raise if they do not fit."""
    import numpy as np
    import tensorflow_datasets as tfds

    expected = (
        f"`load_images` reads sets with a feature 'image' (uint8) and a feature 'label' (one "
        f"integer an image); read {name!r} with `tfds.load` and map it to (image, label). "
        f"Received: features {features}"
    )
    image = features.get("image")
    if not isinstance(image, tfds.features.Image):
        raise ValueError(f"{name!r} has no image of the name 'image'. {expected}")
    if np.dtype(image.np_dtype) != np.uint8:
        raise ValueError(f"The images of {name!r} are not uint8. {expected}")
    label = features.get("label")
    if label is None:
        return ["image"]
    if label.shape != () or not np.issubdtype(label.np_dtype, np.integer):
        raise ValueError(f"The labels of {name!r} are not one integer an image. {expected}")
    return ["image", "label"]
