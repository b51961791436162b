"""Weighted k-nearest-neighbour classification of frozen features."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import check_features, forward_function
from keras_ssl.evaluate._labels import class_labels, labelled_only
from keras_ssl.evaluate._units import check_widths
from keras_ssl.evaluate.features import extract_features

if keras.backend.backend() == "jax":
    import jax
    from jax import numpy as jnp
else:
    import tensorflow as tf

# 2^25 similarities in float32 take 128 MB
_SIMILARITIES_AT_ONCE = 2**25


def knn_accuracy(
    encoder: keras.layers.Layer | Callable,
    train: Any,
    test: Any,
    k: int = 20,
    temperature: float = 0.1,
    batch_size: int = 256,
    verbose: int = 0,
) -> float:
    """Compute the accuracy of a k-nearest-neighbour classifier on the features of an encoder.

    Both sets are encoded, and the test set is classified by `keras_ssl.evaluate.knn_predict`.
    Nothing is trained and the result is deterministic. Wu et al. use `k=200, temperature=0.07` on
    ImageNet's 1.28 million training images; use a smaller `k` for smaller sets.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch that returns features.
            For precomputed features, pass `keras_ssl.evaluate.raw_pixels` and the features in
            place of the inputs.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Its examples are the neighbours. Labels are integers or strings;
            examples with the label -1, which means no label, are left out.
        test: labelled data in the same form. Its examples are classified.
        k: number of neighbours that vote.
        temperature: temperature of the votes. A smaller one gives near neighbours more weight.
        batch_size: examples per batch if the data is arrays.
        verbose: 1 for progress bars, 0 for silence.

    Returns:
        The accuracy on `test`, from 0 to 1.

    Raises:
        TypeError: if labels are neither integers nor strings, or `temperature` is not a number.
        ValueError: if data is empty, infinite, not batched or without labels, `k` exceeds the
            number of training examples, `temperature` is not positive, `train` has only one class,
            or features are not finite.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> train = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]]), np.array([0, 0, 1, 1])
    >>> test = np.array([[2.0, 0.0], [0.0, 3.0]]), np.array([0, 1])
    >>> evaluate.knn_accuracy(evaluate.raw_pixels, train, test, k=2)
    1.0

    Reference:
        [Wu et al., 2018](https://arxiv.org/abs/1805.01978), section 3.4
    """
    check_votes(k, temperature)
    # check both before encoding the first
    train = as_batches(train, "train", batch_size, labelled=True)
    test = as_batches(test, "test", batch_size, labelled=True)
    forward = forward_function(encoder)
    train_features, train_labels = extract_features(forward, train, verbose=verbose)
    test_features, test_labels = extract_features(forward, test, verbose=verbose)
    test_features, test_labels = labelled_only(test_features, test_labels, "test")
    predicted = knn_predict(train_features, train_labels, test_features, k, temperature)
    return float(np.mean(predicted == test_labels))


def knn_predict(
    train_features: Any,
    train_labels: Any,
    test_features: Any,
    k: int = 20,
    temperature: float = 0.1,
) -> np.ndarray:
    r"""Predict classes by the weighted vote of the nearest neighbours.

    With $s_i = \cos(f, f_i)$ the similarity of a test feature $f$ to the training feature $f_i$ of
    class $c_i$, and $N_k$ the set of the $k$ most similar ones, the predicted class is

    $$\arg\max_c \sum_{i \in N_k,\, c_i = c} \exp(s_i / \tau)$$

    Ties go to the smallest label. Similarities are computed on the device for a block of test
    examples at a time, so the full matrix is never in memory.

    Args:
        train_features: array of shape `(train examples, dimensions)`.
        train_labels: integers or strings of shape `(train examples,)` or `(train examples, 1)`.
            Examples with the label -1, which means no label, are no neighbours.
        test_features: array of shape `(test examples, dimensions)`.
        k: number of neighbours that vote.
        temperature: $\tau$.

    Returns:
        Array of shape `(test examples,)` with values of `train_labels`, in their dtype.

    Raises:
        TypeError: if labels are neither integers nor strings, or `temperature` is not a number.
        ValueError: if shapes do not fit, `k` exceeds the number of training examples, `temperature`
            is not positive, there is only one class, or features are not finite.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> train = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    >>> evaluate.knn_predict(train, np.array([7, 7, 3, 3]), np.array([[0.0, 5.0]]), k=3)
    array([3])

    Reference:
        [Wu et al., 2018](https://arxiv.org/abs/1805.01978), section 3.4
    """
    check_votes(k, temperature)
    train_features = check_features(train_features, "train_features")
    test_features = check_features(test_features, "test_features")
    train_labels = class_labels(train_labels, "train_labels")
    check_widths(train_features, test_features, ("train_features", "test_features"))
    if len(train_labels) != len(train_features):
        raise ValueError(
            "`train_labels` must have one label per row of `train_features`. "
            f"Received: {len(train_labels)} labels and {len(train_features)} rows"
        )
    train_features, train_labels = labelled_only(train_features, train_labels, "train_features")
    check_neighbours(train_labels, k)
    classes, train_classes = np.unique(train_labels, return_inverse=True)
    neighbours = _normalize(ops.convert_to_tensor(train_features))
    train_classes = ops.convert_to_tensor(train_classes, "int32")
    block = max(1, min(1024, _SIMILARITIES_AT_ONCE // len(train_features)))
    winners = [
        _vote(
            ops.convert_to_tensor(test_features[start : start + block]),
            neighbours,
            train_classes,
            ops.convert_to_tensor(temperature, "float32"),
            k=k,
            classes=len(classes),
        )
        for start in range(0, len(test_features), block)
    ]
    return classes[np.concatenate([ops.convert_to_numpy(one) for one in winners])]


if keras.backend.backend() == "jax":

    def _normalize(features):
        # as below
        largest = jnp.max(jnp.abs(features), axis=1, keepdims=True)
        scaled = ops.divide_no_nan(features, largest)
        squares = jnp.sum(jnp.square(scaled), axis=1, keepdims=True)
        return scaled * jax.lax.rsqrt(jnp.maximum(squares, 1e-12))

    @functools.partial(jax.jit, static_argnames=("k", "classes"))
    def _vote(queries, neighbours, neighbour_classes, temperature, k, classes):
        similarities = jnp.matmul(_normalize(queries), neighbours.T, precision="highest")
        nearest, positions = jax.lax.top_k(similarities, k)
        weights = jnp.exp((nearest - nearest[:, :1]) / temperature)
        rows = jnp.arange(len(queries))[:, None]
        votes = jnp.zeros((len(queries), classes)).at[rows, neighbour_classes[positions]]
        return jnp.argmax(votes.add(weights), axis=1)

else:

    def _normalize(features):
        # divide by the largest entry first: squares of huge or tiny features are not finite float32
        largest = tf.reduce_max(tf.abs(features), axis=1, keepdims=True)
        return tf.math.l2_normalize(tf.math.divide_no_nan(features, largest), axis=1)

    @tf.function(reduce_retracing=True)
    def _vote(queries, neighbours, neighbour_classes, temperature, k, classes):
        similarities = tf.matmul(_normalize(queries), neighbours, transpose_b=True)
        nearest, positions = tf.math.top_k(similarities, k)
        # relative to the nearest, so that a small temperature does not overflow
        weights = tf.exp((nearest - nearest[:, :1]) / temperature)
        rows = tf.shape(queries)[0]
        segments = tf.range(rows)[:, None] * classes + tf.gather(neighbour_classes, positions)
        votes = tf.math.unsorted_segment_sum(weights, segments, rows * classes)
        return tf.argmax(tf.reshape(votes, [rows, classes]), axis=1)


def check_votes(k: int, temperature: float) -> None:
    """Raise unless `k` is a positive integer and `temperature` a positive number."""
    checks.integer("k", k, minimum=1)
    checks.positive("temperature", temperature)


def check_neighbours(labels: np.ndarray, k: int) -> None:
    """Raise unless there are at least `k` training examples and two classes."""
    if k > len(labels):
        raise ValueError(
            "`k` must not exceed the number of training examples. "
            f"Received: k={k} and {len(labels)} training examples"
        )
    if (labels == labels[0]).all():
        raise ValueError(
            "The training examples must be of at least two classes, since with one every "
            f"prediction is right. Received: only class {labels[0]}"
        )
