"""From data to feature vectors: every evaluation starts here."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.evaluate.batches import Batches, as_batches, is_union, rows_of


def extract_features(
    encoder: keras.layers.Layer | Callable,
    data: Any,
    batch_size: int = 256,
    verbose: int = 0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The features that an encoder gives to every example, in inference mode.

    Args:
        encoder: a `keras.Model` or Keras layer, called with `training=False`, or any function of
            a batch that returns its features, such as `keras_ssl.evaluate.raw_pixels`. A layer
            gets images of uint8 as float32 in the same scale, as augmentation would hand them over.
        data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `x` or `(x, y)`, an array
            `x`, or a tuple of arrays `(x, y)`; of graphs, what `keras_ssl.data` makes of them. One
            pass is made over it.
        batch_size: examples a batch where `data` is arrays.
        verbose: 1 shows a progress bar, 0 is silent.

    Returns:
        `(features, labels)`: a float32 array of shape `(examples, dimensions)` (features with more
        axes are flattened to vectors; nothing is pooled) and the labels as the data gave them, or
        `None` where it has none.

    Raises:
        TypeError: if `encoder` is not callable or does not return one tensor.
        ValueError: if `data` is empty, endless or not batched, or the encoder returns another
            number of rows than it was given.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
    >>> images, labels = np.zeros((10, 8, 8, 1), "uint8"), np.arange(10)
    >>> features, y = evaluate.extract_features(encoder, (images, labels))
    >>> features.shape, y.shape
    ((10, 144), (10,))
    """
    forward = forward_function(encoder)
    batches = as_batches(data, "data", batch_size)
    bar = keras.utils.Progbar(batches.count, unit_name="batch", verbose=verbose)
    features, labels = [], []
    for step, (x, y) in enumerate(batches):
        batch = forward(x).numpy()
        # a union of graphs has an example a node, or a graph: the labels tell
        rows = (len(batch) if y is None else len(y)) if is_union(x) else rows_of(x)
        if len(batch) != rows:
            raise ValueError(
                "`encoder` must return one row of features an example. "
                f"Received: {len(batch)} rows for {rows} examples"
            )
        features.append(batch)
        labels.append(y)
        if verbose:
            bar.update(step + 1)
    features = np.concatenate(features)
    return features, None if labels[0] is None else np.concatenate(labels)


def raw_pixels(x: Any) -> tf.Tensor:
    """The input itself as features: what an encoder has to beat.

    Args:
        x: batch of images, or of features computed before, of shape `(batch, ...)`.

    Returns:
        float32 tensor of shape `(batch, dimensions)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> evaluate.raw_pixels(np.zeros((2, 4, 4, 3), "uint8")).shape
    TensorShape([2, 48])
    """
    return as_vectors(x)


class Forward:
    """An encoder made ready to be called many times: `(batch, ...)` to float32 vectors.

    It is a plain callable on batches itself, so whoever evaluates the same encoder again and again
    (a callback) makes it once and passes it on, and the graph is traced once.
    """

    def __init__(self, encoder: keras.layers.Layer | Callable):
        self._encoder = encoder
        self._is_layer = isinstance(encoder, keras.layers.Layer)
        # a plain function may well leave TensorFlow, so it is not traced
        self._eager = not self._is_layer or getattr(encoder, "run_eagerly", False)
        self._graphs = {}

    def __call__(self, x: Any) -> tf.Tensor:
        """Return the features of a batch."""
        x = keras.tree.map_structure(_as_tensor, x)
        if self._eager:
            return self._features(x)
        specs = keras.tree.map_structure(_any_batch_size, x)
        key = str(specs)
        if key not in self._graphs:
            self._graphs[key] = tf.function(self._features, input_signature=[specs])
        return self._graphs[key](x)

    def _features(self, x: Any) -> tf.Tensor:
        if not self._is_layer:
            return as_vectors(self._encoder(x))
        return as_vectors(self._encoder(as_input(x), training=False))


def _as_tensor(x: Any) -> Any:
    return x if isinstance(x, tf.SparseTensor) else tf.convert_to_tensor(x)


def _any_batch_size(x: Any) -> tf.TypeSpec:
    spec = tf.SparseTensorSpec if isinstance(x, tf.SparseTensor) else tf.TensorSpec
    return spec([None, *x.shape[1:]], x.dtype)


def as_input(x: Any) -> Any:
    """A batch as a layer takes it: images of uint8 become float32, in the same scale.

    A layer that is no functional model does not cast them, and augmentation gives float32.

    Args:
        x: an array or tensor, or a structure of them.

    Returns:
        The same structure of tensors.
    """

    def cast(leaf: Any) -> Any:
        leaf = _as_tensor(leaf)
        return tf.cast(leaf, tf.float32) if leaf.dtype == tf.uint8 else leaf

    return keras.tree.map_structure(cast, x)


def ensure_built(encoder: Any, batches: Batches) -> None:
    """Build an encoder that is a Keras layer, from the first batch, if it has no weights yet."""
    if isinstance(encoder, keras.layers.Layer) and not encoder.built:
        encoder(as_input(batches.first()[0]), training=False)


def forward_function(encoder: keras.layers.Layer | Callable) -> Forward:
    """Return `encoder` as a `Forward`; one that is a `Forward` already comes back as it is.

    Raises:
        TypeError: if `encoder` is not callable.
    """
    if isinstance(encoder, Forward):
        return encoder
    if not callable(encoder) or isinstance(encoder, type):
        raise TypeError(
            "`encoder` must be a keras.Model, a Keras layer or a function of a batch. "
            f"Received: {encoder!r}"
        )
    return Forward(encoder)


def as_vectors(features: Any) -> tf.Tensor:
    """Features as float32 vectors: every axis after the first is flattened.

    Raises:
        TypeError: if `features` is not one tensor.
        ValueError: if it has no axis of examples.
    """
    if isinstance(features, (dict, list, tuple)):
        raise TypeError(
            "`encoder` must return one tensor of features; wrap it in a keras.Model that picks one "
            f"of its outputs. Received: a {type(features).__name__} of {len(features)}"
        )
    features = tf.cast(features, tf.float32)
    if features.shape.rank == 0:
        raise ValueError("`encoder` must return (batch, features). Received: a scalar")
    return tf.reshape(features, [tf.shape(features)[0], -1])


def check_features(features: Any, name: str) -> np.ndarray:
    """A float32 matrix of finite features.

    Raises:
        ValueError: if `features` is not of rank 2, empty, or not finite.
    """
    features = np.asarray(features, dtype="float32")
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"`{name}` must have shape (examples, dimensions) and hold at least one example. "
            f"Received: shape {features.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity in "
            f"{int((~np.isfinite(features)).any(axis=1).sum())} of {len(features)} rows"
        )
    return features
