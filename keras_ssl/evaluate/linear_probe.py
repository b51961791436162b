"""A linear classifier on frozen features."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import check_features, forward_function
from keras_ssl.evaluate._subset import balanced_subset
from keras_ssl.evaluate.features import extract_features


def linear_probe(
    encoder: keras.layers.Layer | Callable,
    train: Any,
    test: Any,
    labels_per_class: int | None = None,
    trials: int = 1,
    regularization: float = 0.01,
    max_iterations: int = 1000,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 0,
) -> float:
    r"""Compute the accuracy of a linear classifier on the features of a frozen encoder.

    Multinomial logistic regression on standardised features $f$ (mean 0 and variance 1 over the
    training examples), fitted by L-BFGS to convergence. It minimizes

    $$\frac1n \sum_{i=1}^n -\log p(y_i \mid W f_i + b) + \frac{\lambda}{2} \lVert W \rVert^2$$

    The encoder is not trained, and no augmentation is applied. The result is deterministic.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch that returns features.
            For precomputed features, pass `keras_ssl.evaluate.raw_pixels` and the features in
            place of the inputs.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays.
        test: labelled data in the same form.
        labels_per_class: fit on this many random examples of every class. `None` means all.
        trials: with `labels_per_class`, number of random subsets over which the accuracy is
            averaged.
        regularization: $\lambda$. Since it is weighed against the mean over examples, one value
            fits large and small training sets.
        max_iterations: maximum number of L-BFGS steps. scikit-learn warns if it is reached.
        batch_size: examples per batch if the data is arrays.
        seed: seed of the random subsets. The same seed gives every encoder the same subsets.
        verbose: 1 for progress bars, 0 for silence.

    Returns:
        The accuracy on `test`, from 0 to 1.

    Raises:
        TypeError: if labels or integer arguments are not integers.
        ValueError: if data is empty, infinite, not batched or without labels, there is only one
            class, a class has fewer than `labels_per_class` examples, features are not finite, or
            an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> x, y = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1])
    >>> evaluate.linear_probe(evaluate.raw_pixels, (x, y), (x, y))
    1.0

    Reference:
        [Alain & Bengio, 2016](https://arxiv.org/abs/1610.01644)
    """
    check_probe(labels_per_class, trials, regularization, max_iterations)
    train = as_batches(train, "train", batch_size, labelled=True)
    test = as_batches(test, "test", batch_size, labelled=True)
    forward = forward_function(encoder)
    train_features, train_labels = extract_features(forward, train, verbose=verbose)
    test_features, test_labels = extract_features(forward, test, verbose=verbose)
    train_features = check_features(train_features, "train")
    test_features = check_features(test_features, "test")
    if len(np.unique(train_labels)) < 2:
        raise ValueError(
            f"`train` must hold at least two classes. Received: only class {train_labels[0]}"
        )
    if labels_per_class is None:
        subsets = [slice(None)]
    else:
        subsets = [
            balanced_subset(train_labels, labels_per_class, seed + trial) for trial in range(trials)
        ]
    accuracies = [
        _fit_and_score(
            train_features[subset],
            train_labels[subset],
            test_features,
            test_labels,
            regularization,
            max_iterations,
        )
        for subset in subsets
    ]
    return float(np.mean(accuracies))


def _fit_and_score(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    regularization: float,
    max_iterations: int,
) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    # scikit-learn's C weighs the sum over examples, not the mean
    C = 1 / (regularization * len(train_labels))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=max_iterations))
    # One thread: the matrix products are thin, and on busy cores threads that wait for each other
    # took 20 times as long. It also makes the result independent of the number of threads.
    with threadpool_limits(1):
        classifier.fit(train_features, train_labels)
        return classifier.score(test_features, test_labels)


def check_probe(
    labels_per_class: int | None, trials: int, regularization: float, max_iterations: int = 1
) -> None:
    """Raise unless the arguments of `linear_probe` are in range."""
    checks.integer("labels_per_class", labels_per_class, minimum=1, optional=True)
    checks.integer("trials", trials, minimum=1)
    checks.integer("max_iterations", max_iterations, minimum=1)
    checks.positive("regularization", regularization)
    if trials > 1 and labels_per_class is None:
        raise ValueError(
            "`trials` above 1 needs `labels_per_class`: with all labels every trial is the same. "
            f"Received: trials={trials}, labels_per_class=None"
        )
