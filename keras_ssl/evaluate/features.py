"""Features of a data set."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl.evaluate._batch_statistics import warn_of_lag
from keras_ssl.evaluate._batches import (
    Batches,
    as_batches,
    is_graph,
    is_union,
    rows_of,
    rows_that_count,
)
from keras_ssl.evaluate._forward import (
    Forward,
    as_vectors,
    check_features,
    forward_function,
)
from keras_ssl.evaluate._labels import labelled_only


def extract_features(
    encoder: keras.layers.Layer | Callable,
    data: Any,
    batch_size: int = 256,
    verbose: int = 0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute the features of every example in inference mode.

    If they are nearly equal for all examples, and are not with the statistics of the batch, a
    warning says that the moving statistics of batch normalization lag behind; see
    `keras_ssl.evaluate.recalibrate`.

    Args:
        encoder: a `keras.Model` or Keras layer, called with `training=False`, or any function from
            a batch to its features, such as `keras_ssl.evaluate.raw_pixels`. For a layer, uint8
            is cast to float32 without rescaling, as augmentation does.
        data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `x` or `(x, y)`, an array
            `x`, or a tuple of arrays `(x, y)`. `x` may be a dictionary or tuple of arrays, or
            graphs as `keras_ssl.data` batches them, of which padding, and rows of sample weight 0,
            are left out. It is read once.
        batch_size: examples per batch if `data` is arrays.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        `(features, labels)`: a float32 array of shape `(examples, dimensions)` (further axes are
        flattened, not pooled), and the labels of the data or `None`.

    Raises:
        TypeError: if `encoder` is not callable or does not return one tensor.
        ValueError: if `data` is empty, infinite or not batched, or the encoder does not return
            one row per example.

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
    features, labels = zip(*features_of_batches(forward, batches, verbose), strict=True)
    features = np.concatenate(features)
    if forward.may_lag:
        warn_of_lag(forward, batches, features)
    return features, None if labels[0] is None else np.concatenate(labels)


def features_of_batches(
    forward: Forward, batches: Batches, verbose: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield the features and labels of each batch, of the examples that count.

    Args:
        forward: the encoder.
        batches: the data.
        verbose: 1 for a progress bar, 0 for silence.
    """
    bar = keras.utils.Progbar(batches.count, unit_name="batch", verbose=verbose)
    for step, (x, y, weights) in enumerate(batches.with_weights()):
        batch = ops.convert_to_numpy(forward(x))
        # the examples of a union of graphs are its nodes or its graphs, whichever have labels
        rows = (len(batch) if y is None else len(y)) if is_union(x) else rows_of(x)
        if len(batch) != rows:
            raise ValueError(
                "`encoder` must return one row of features per example. "
                f"Received: {len(batch)} rows for {rows} examples"
            )
        counts = rows_that_count(x, weights, rows)
        if counts is not None:
            batch, y = batch[counts], None if y is None else y[counts]
        yield batch, y
        if verbose:
            bar.update(step + 1)


def labelled_features(
    forward: Forward, batches: Batches, verbose: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels of the examples that have a label; raise if they are not finite.

    Args:
        forward: the encoder.
        batches: labelled data.
        verbose: 1 for a progress bar, 0 for silence.
    """
    features, labels = extract_features(forward, batches, verbose=verbose)
    return labelled_only(check_features(features, batches.name), labels, batches.name)


def raw_pixels(x: Any) -> Any:
    """Return the input itself as features, a baseline for encoders.

    Args:
        x: a batch of images, of precomputed features, or of any other data of shape
            `(batch, ...)`; or a structure of such tensors, which are concatenated.

    Returns:
        float32 tensor of shape `(batch, dimensions)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> evaluate.raw_pixels(np.zeros((2, 4, 4, 3), "uint8")).shape
    TensorShape([2, 48])
    """
    if is_graph(x):
        return as_vectors(x)
    return ops.concatenate([as_vectors(part) for part in keras.tree.flatten(x)], axis=1)
