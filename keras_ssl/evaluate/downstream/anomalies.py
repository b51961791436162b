"""Detection of examples that are unlike those seen before, on features."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import check_features, forward_function
from keras_ssl.evaluate._labels import class_labels
from keras_ssl.evaluate._units import check_widths
from keras_ssl.evaluate.downstream.search_index import SearchIndex
from keras_ssl.evaluate.features import labelled_features


def knn_anomaly_scores(
    train_features: Any, features: Any = None, k: int = 5, metric: str = "l2"
) -> np.ndarray:
    """Score features by the mean distance of their nearest training features.

    Args:
        train_features: features of normal examples, `(train examples, dimensions)`.
        features: what is scored, `(examples, dimensions)`. `None` scores the training features
            among each other, each without itself, which finds the outliers of a set.
        k: number of nearest features.
        metric: `"l2"` for Euclidean distances, or `"cosine"` for 1 - cosine.

    Returns:
        float32 array `(examples,)`, larger for what is less normal.

    Raises:
        ValueError: if features are not finite or of two widths, there are not `k` others, or
            `metric` is not one of these.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> train = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> evaluate.knn_anomaly_scores(train, np.array([[0.0, 0.5], [0.0, 9.0]]), k=2)
    array([0.5, 8.5], dtype=float32)
    >>> int(evaluate.knn_anomaly_scores(np.array([[0.0], [1.0], [7.0], [2.0]]), k=1).argmax())
    2

    Reference:
        [Bergman et al., Deep Nearest Neighbor Anomaly Detection](https://arxiv.org/abs/2002.10445)
    """
    k = checks.integer("k", k, minimum=1)
    if metric not in ("l2", "cosine"):
        raise ValueError(f"`metric` must be 'l2' or 'cosine'. Received: {metric!r}")
    train_features = check_features(train_features, "train_features")
    among_each_other = features is None
    if not among_each_other:
        features = check_features(features, "features")
        check_widths(train_features, features, ("train_features", "features"))
    if k + among_each_other > len(train_features):
        raise ValueError(
            f"`train_features` must hold at least {k + among_each_other} examples, for k={k}. "
            f"Received: {len(train_features)}"
        )
    index = SearchIndex(train_features.shape[1], metric)
    index.add(train_features)
    if among_each_other:
        values, ids = index.query(train_features, k + 1)
        # of more than k equal features, an example need not be among its own neighbours
        own = ids == np.arange(len(ids))[:, None]
        own[~own.any(axis=1), -1] = True
        values = values[~own].reshape(-1, k)
    else:
        values, _ = index.query(features, k)
    distances = values if metric == "l2" else 1.0 - values
    return distances.mean(axis=1)


def mahalanobis_anomaly_scores(
    train_features: Any, features: Any = None, covariance: Any = None
) -> np.ndarray:
    r"""Score features by their Mahalanobis distance from the mean of the training features.

    $$s(f) = \sqrt{(f - \mu)^\top \Sigma^{-1} (f - \mu)}$$

    Args:
        train_features: features of normal examples, `(train examples, dimensions)`.
        features: what is scored, `(examples, dimensions)`. `None` scores the training features.
        covariance: an estimator of scikit-learn, such as `sklearn.covariance.EmpiricalCovariance()`
            or `MinCovDet()`, which is fitted as a copy. `None` means `LedoitWolf()`, which shrinks
            the covariance and so needs no more examples than dimensions.

    Returns:
        Array `(examples,)`, larger for what is less normal.

    Raises:
        TypeError: if `covariance` is not such an estimator.
        ValueError: if features are not finite or of two widths, there are fewer than 2 training
            examples, or the estimated covariance is singular.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> train = np.random.default_rng(0).normal(size=(500, 2)) * [1.0, 10.0]
    >>> scores = evaluate.mahalanobis_anomaly_scores(train, np.array([[5.0, 0.0], [0.0, 5.0]]))
    >>> bool(scores[0] > 4 * scores[1])
    True

    Reference:
        [Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples](
        https://arxiv.org/abs/1807.03888)
    """
    from sklearn.base import clone
    from sklearn.covariance import EmpiricalCovariance, LedoitWolf

    covariance = LedoitWolf() if covariance is None else covariance
    if not isinstance(covariance, EmpiricalCovariance):
        raise TypeError(
            "`covariance` must be an estimator of sklearn.covariance, such as LedoitWolf(). "
            f"Received: {covariance!r}"
        )
    train_features, features = _two_sets(train_features, features)
    if len(train_features) < 2:
        raise ValueError("`train_features` must hold at least 2 examples. Received: 1")
    fitted = clone(covariance).fit(train_features)
    rank = np.linalg.matrix_rank(fitted.covariance_, hermitian=True)
    if rank < len(fitted.covariance_):
        raise ValueError(
            "The covariance of `train_features` must not be singular: take more examples, fewer "
            f"dimensions, or `LedoitWolf()`. Received: rank {rank} of {len(fitted.covariance_)}, "
            f"from {len(train_features)} examples, by {covariance!r}"
        )
    return np.sqrt(np.maximum(fitted.mahalanobis(features), 0.0))


def detector_anomaly_scores(detector: Any, train_features: Any, features: Any = None) -> np.ndarray:
    """Score features by an outlier detector of scikit-learn.

    Args:
        detector: the detector, which is fitted as a copy: `IsolationForest()`, `OneClassSVM()`,
            `LocalOutlierFactor(novelty=True)`, a pipeline that ends in one, or any other estimator
            with `fit` and `score_samples` or `decision_function`, which is large for normal
            examples.
        train_features: features of normal examples, `(train examples, dimensions)`.
        features: what is scored, `(examples, dimensions)`. `None` scores the training features.

    Returns:
        Array `(examples,)`, larger for what is less normal.

    Raises:
        TypeError: if `detector` is not such an estimator.
        ValueError: if features are not finite or of two widths.

    Example:

    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from keras_ssl import evaluate
    >>> train = np.random.default_rng(0).normal(size=(200, 2))
    >>> detector = IsolationForest(n_estimators=20, random_state=0)
    >>> scores = evaluate.detector_anomaly_scores(detector, train, np.array([[0, 0], [6, 6]]))
    >>> bool(scores[1] > scores[0])
    True
    """
    from sklearn.base import clone

    method = _scoring_method(detector)
    train_features, features = _two_sets(train_features, features)
    fitted = clone(detector).fit(train_features)
    return -np.asarray(getattr(fitted, method)(features)).reshape(-1)


def anomaly_metrics(scores: Any, is_anomaly: Any) -> dict[str, float]:
    """Compute how well scores tell anomalies from normal examples.

    Args:
        scores: numbers `(examples,)`, larger for what is less normal.
        is_anomaly: booleans, or 0 and 1, `(examples,)`.

    Returns:
        `{"auroc": ..., "fpr_at_95_tpr": ...}`: the area under the ROC curve, which is the
        probability that an anomaly has a larger score than a normal example (half of it for equal
        ones), and the share of normal examples that are called anomalies if at least 95 % of the
        anomalies are.

    Raises:
        ValueError: if scores are not finite, numbers of both differ, or all examples are of one
            kind.

    Example:

    >>> from keras_ssl import evaluate
    >>> evaluate.anomaly_metrics([0.1, 0.4, 0.3, 0.9], [0, 0, 1, 1])
    {'auroc': 0.75, 'fpr_at_95_tpr': 0.5}

    Reference:
        [Hendrycks et al., Deep Anomaly Detection with Outlier Exposure](
        https://arxiv.org/abs/1812.04606), section 4.1
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    scores = check_features(np.reshape(scores, (-1, 1)), "scores")[:, 0]
    is_anomaly = np.asarray(is_anomaly).reshape(-1)
    if is_anomaly.dtype.kind not in "biuf" or not np.isin(is_anomaly, (0, 1)).all():
        raise ValueError(f"`is_anomaly` must be booleans, or 0 and 1. Received: {is_anomaly}")
    is_anomaly = is_anomaly.astype(bool)
    if len(scores) != len(is_anomaly):
        raise ValueError(
            "`scores` and `is_anomaly` must be equally many. "
            f"Received: {len(scores)} and {len(is_anomaly)}"
        )
    if is_anomaly.all() or not is_anomaly.any():
        raise ValueError(
            "There must be normal examples and anomalies, of one kind alone nothing is told apart. "
            f"Received: {np.count_nonzero(is_anomaly)} anomalies of {len(is_anomaly)} examples"
        )
    false, true, _ = roc_curve(is_anomaly, scores, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(is_anomaly, scores)),
        "fpr_at_95_tpr": float(false[true >= 0.95].min()),
    }


def anomaly_report(
    encoder: keras.layers.Layer | Callable,
    train: Any,
    test: Any,
    normal: Any = None,
    detectors: Mapping[str, Any] | None = None,
    batch_size: int = 256,
    verbose: int = 0,
) -> dict[str, dict[str, float]]:
    """Measure how well features tell one class from the rest, which detectors have not seen.

    The training examples of the normal class are what a detector sees; of the test examples, all
    other classes are anomalies.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch that returns features.
            For precomputed features, pass `keras_ssl.evaluate.raw_pixels` and the features in
            place of the inputs.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Labels are integers or strings; examples with the label -1, which
            means no label, are left out.
        test: labelled data in the same form.
        normal: the label of the normal class. `None` takes each class of `train` in turn, and
            averages.
        detectors: detectors by name: functions `(train_features, features)` to scores that are
            larger for anomalies, or detectors of scikit-learn, see
            `keras_ssl.evaluate.detector_anomaly_scores`. `None` means `"knn"` and `"mahalanobis"`,
            the two functions of this package.
        batch_size: examples per batch if the data is arrays.
        verbose: 1 for progress bars, 0 for silence.

    Returns:
        For each detector `{"auroc": ..., "fpr_at_95_tpr": ...}`, see
        `keras_ssl.evaluate.anomaly_metrics`.

    Raises:
        TypeError: if labels are neither integers nor strings, or a detector is none.
        ValueError: if data is empty, infinite, not batched or without labels, features are not
            finite, `normal` is not a class of `train`, or `test` holds only the normal class, or
            nothing of it.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> x = np.random.default_rng(0).normal(size=(100, 3)) + np.repeat([[0], [9]], 50, axis=0)
    >>> y = np.repeat([0, 1], 50)
    >>> evaluate.anomaly_report(evaluate.raw_pixels, (x, y), (x, y), normal=0)["mahalanobis"]
    {'auroc': 1.0, 'fpr_at_95_tpr': 0.0}

    Reference:
        [Bergman et al., Deep Nearest Neighbor Anomaly Detection](https://arxiv.org/abs/2002.10445)
    """
    if detectors is None:
        detectors = {"knn": knn_anomaly_scores, "mahalanobis": mahalanobis_anomaly_scores}
    detectors = {name: _as_function(detector) for name, detector in detectors.items()}
    train = as_batches(train, "train", batch_size, labelled=True)
    test = as_batches(test, "test", batch_size, labelled=True)
    forward = forward_function(encoder)
    train_features, train_labels = labelled_features(forward, train, verbose)
    test_features, test_labels = labelled_features(forward, test, verbose)
    classes = np.unique(train_labels)
    if normal is not None:
        (normal,) = class_labels([normal], "normal")
        if normal not in classes:
            raise ValueError(
                f"`normal` must be a class of `train`, one of {classes.tolist()}. "
                f"Received: {normal.item()!r}"
            )
        classes = [normal]
    for one in classes:
        shares = np.mean(test_labels == one)
        if shares in (0.0, 1.0):
            raise ValueError(
                f"`test` must hold examples of the normal class {one} and of others. "
                f"Received: the classes {np.unique(test_labels).tolist()}"
            )
    found: dict[str, list[dict[str, float]]] = {name: [] for name in detectors}
    for one in classes:
        seen = train_features[train_labels == one]
        for name, detector in detectors.items():
            found[name].append(anomaly_metrics(detector(seen, test_features), test_labels != one))
    return {
        name: {metric: float(np.mean([one[metric] for one in values])) for metric in values[0]}
        for name, values in found.items()
    }


def _scoring_method(detector: Any) -> str:
    methods = ("score_samples", "decision_function")
    method = next((one for one in methods if hasattr(detector, one)), None)
    if method is None or not hasattr(detector, "fit") or isinstance(detector, type):
        raise TypeError(
            "`detector` must be an estimator with `fit` and `score_samples` or "
            "`decision_function`; LocalOutlierFactor has it with novelty=True. "
            f"Received: {detector!r}"
        )
    return method


def _as_function(detector: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function of training features and features; raise if a detector is none."""
    if callable(detector) and not isinstance(detector, type):
        return detector
    _scoring_method(detector)
    return functools.partial(detector_anomaly_scores, detector)


def _two_sets(train_features: Any, features: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets in float64; without the second, the first twice."""
    train_features = check_features(train_features, "train_features").astype("float64")
    if features is None:
        return train_features, train_features
    features = check_features(features, "features").astype("float64")
    check_widths(train_features, features, ("train_features", "features"))
    return train_features, features
