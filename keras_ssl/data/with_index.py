"""The index of each image, for methods with a memory of all images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


def with_index(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Add to each image its index in the data set, from 0.

    Call this before `shuffle`, `repeat` and `batch`, on data with the same order in every epoch,
    so that an image keeps its index.

    Args:
        dataset: unbatched `tf.data.Dataset` of images or other tensors: `image`, `(image,)` or
            `(image, label)`.

    Returns:
        The data set with `{"image": image, "index": index}` instead of the image. The index is an
        int32 scalar.

    Raises:
        TypeError: if `dataset` is not a `tf.data.Dataset`.
        ValueError: if its elements have another structure.

    Example:

    >>> from keras_ssl import data
    >>> images = data.with_index(data.load_images("fashion_mnist_mini", "train[:1000]"))
    >>> x, label = next(iter(images.skip(7)))
    >>> x["image"].shape, int(x["index"])
    (TensorShape([28, 28, 1]), 7)
    >>> batches = images.shuffle(1000).batch(256, drop_remainder=True)
    """
    import tensorflow as tf

    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"`dataset` must be a tf.data.Dataset. Received: {dataset!r} of type {type(dataset)}"
        )
    spec = dataset.element_spec
    image = spec[0] if isinstance(spec, tuple) and len(spec) in (1, 2) else spec
    if not isinstance(image, tf.TensorSpec):
        raise ValueError(
            "`dataset` must hold images as `(image,)` or `(image, label)`. "
            f"Received: elements of {spec}"
        )

    def add(index: tf.Tensor, element: Any) -> Any:
        image, *label = element if isinstance(element, tuple) else (element,)
        x = {"image": image, "index": tf.cast(index, tf.int32)}
        return (x, *label) if isinstance(element, tuple) else x

    return dataset.enumerate().map(add, num_parallel_calls=tf.data.AUTOTUNE)
