"""What several models are worth together, beside each of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import ensure_built, forward_function
from keras_ssl.evaluate._labels import classes_of
from keras_ssl.evaluate._table import markdown_table
from keras_ssl.evaluate.downstream.combining.average_weights import (
    architecture_difference,
    average_weights,
)
from keras_ssl.evaluate.downstream.combining.experts import (
    mixture_of_experts,
    product_of_experts,
)
from keras_ssl.evaluate.features import labelled_features, raw_pixels
from keras_ssl.evaluate.linear_probe import LinearProbe

_ONE_MODEL = "model {}"


class CombinationReport(dict):
    """Accuracy and log loss by combination, such as `report["mixture of experts"]["accuracy"]`.

    A dictionary of dictionaries of numbers, which `json.dumps` can write. `print(report)` shows a
    table with one row per combination.

    Args:
        *args: what `dict` takes: dictionaries of measures by combination.
        **kwargs: the same by name.

    Example:

    >>> from keras_ssl.evaluate.downstream.combining.combine import CombinationReport
    >>> print(CombinationReport({"bagging": {"accuracy": 0.8123, "log_loss": 0.5}}))
    | combination | accuracy | log loss |
    |-------------|---------:|---------:|
    | bagging     |   81.2 % |    0.500 |
    """

    def __str__(self) -> str:
        """Return an aligned Markdown table."""
        rows = [
            [name, f"{100 * row['accuracy']:.1f} %", f"{row['log_loss']:.3f}"]
            for name, row in self.items()
        ]
        return markdown_table(["combination", "accuracy", "log loss"], rows)


def combine(
    encoders: Sequence[keras.layers.Layer | Callable],
    train: Any,
    test: Any,
    estimators: Mapping[str, Any] | None = None,
    regularization: float = 0.01,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 0,
) -> CombinationReport:
    """Measure combinations of several encoders, and of classifiers on one, beside each encoder.

    Each encoder gets a linear probe, see `keras_ssl.evaluate.LinearProbe`. The probabilities of
    the probes are combined by `keras_ssl.evaluate.mixture_of_experts` and `product_of_experts`.
    Estimators of scikit-learn, bagging and boosting among them, are fitted to the features of the
    first encoder. If all encoders are of one architecture, a probe is also fitted to an encoder
    with their `keras_ssl.evaluate.average_weights`, with the statistics of batch normalization
    recomputed on `train`.

    Args:
        encoders: one or several `keras.Model`s, Keras layers or functions of a batch that return
            features, which may be of other widths.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Labels are integers or strings; examples with the label -1, which
            means no label, are left out.
        test: labelled data in the same form.
        estimators: by name, classifiers of scikit-learn with `predict_proba`, which are fitted as
            copies. `None` means `"bagging"`, ten probes on examples drawn with replacement, and
            `"boosting"`, a `HistGradientBoostingClassifier` of trees.
        regularization: regularization of the linear probes.
        batch_size: examples per batch if the data is arrays.
        seed: seed of the two estimators.
        verbose: 1 for progress bars, 0 for silence.

    Returns:
        A dictionary with `"model 1"` and so on for each encoder by itself, `"mean of models"`, and
        with two encoders or more `"mixture of experts"`, `"product of experts"` and, where there is
        one, `"average of weights"`; then the estimators. Each is a dictionary of `accuracy`, from 0
        to 1, and `log_loss`, the mean of the negative logarithm of the probability of the right
        class. `print` shows it as a table.

    Raises:
        TypeError: if an encoder is not callable, an estimator has no `predict_proba`, or labels are
            neither integers nor strings.
        ValueError: if there are no encoders, names of estimators are those of other rows, data is
            empty, infinite, not batched or without labels, there is only one class, `test` has
            another, or features are not finite.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> y = np.arange(100) % 2
    >>> x = np.random.default_rng(0).normal(size=(100, 2)) + y[:, None]
    >>> encoders = [lambda x: x[:, :1], lambda x: x[:, 1:]]  # each sees one half
    >>> report = evaluate.combine(encoders, (x, y), (x, y), estimators={})
    >>> list(report)
    ['model 1', 'model 2', 'mean of models', 'mixture of experts', 'product of experts']

    Reference:
        - [Breiman, Bagging Predictors](https://doi.org/10.1007/BF00058655)
        - [Friedman, Greedy Function Approximation: A Gradient Boosting Machine](
          https://doi.org/10.1214/aos/1013203451)
    """
    encoders = list(encoders) if isinstance(encoders, (list, tuple)) else encoders
    if not isinstance(encoders, list) or not encoders:
        raise ValueError(
            f"`encoders` must be a list of one encoder or more. Received: encoders={encoders!r}"
        )
    forwards = [forward_function(encoder) for encoder in encoders]
    seed = checks.integer("seed", seed, minimum=0)
    probe = LinearProbe(raw_pixels, regularization=regularization)
    _check_estimators(estimators, len(encoders))
    train = as_batches(train, "train", batch_size, labelled=True)
    test = as_batches(test, "test", batch_size, labelled=True)
    pairs = []
    for forward in forwards:
        pairs.append([labelled_features(forward, one, verbose) for one in (train, test)])
        if len(pairs) == 1:
            _check_classes(pairs[0][0][1], pairs[0][1][1])
    report = CombinationReport()
    probabilities = [_probed(probe, *pair) for pair in pairs]
    labels = [pair[1][1] for pair in pairs]
    classes = probe.classes
    for number, one in enumerate(probabilities):
        report[_ONE_MODEL.format(number + 1)] = _measure(one, labels[number], classes)
    report["mean of models"] = {
        name: float(np.mean([row[name] for row in report.values()]))
        for name in ("accuracy", "log_loss")
    }
    if len(encoders) > 1:
        for name, function in _EXPERTS.items():
            report[name] = _measure(
                function(_same_order(probabilities, labels)), labels[0], classes
            )
        averaged = _averaged(encoders, train)
        if averaged is not None:
            forward = forward_function(averaged)
            pair = [labelled_features(forward, one, verbose) for one in (train, test)]
            report["average of weights"] = _measure(_probed(probe, *pair), pair[1][1], classes)
    (features, train_labels), (test_features, test_labels) = pairs[0]
    if estimators is None:
        estimators = _default_estimators(probe, len(train_labels), seed)
    for name, estimator in estimators.items():
        found = _fitted(estimator, features, train_labels, test_features)
        report[name] = _measure(found, test_labels, classes)
    return report


_EXPERTS = {"mixture of experts": mixture_of_experts, "product of experts": product_of_experts}


def _probed(probe: LinearProbe, train: tuple, test: tuple) -> np.ndarray:
    """Return the probabilities that a probe gives to the classes of test examples."""
    from scipy.special import softmax

    probe.fit_features(*train)
    return softmax(probe.scores(test[0]).astype("float64"), axis=1)


def _fitted(
    estimator: Any, features: np.ndarray, labels: np.ndarray, test_features: np.ndarray
) -> np.ndarray:
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # as in the probe: threads that wait for each other are slow
        found = clone(estimator).fit(features, labels).predict_proba(test_features)
    found = np.asarray(found, "float64")
    return found / found.sum(axis=1, keepdims=True)  # of float32 they add up to 1 roughly


def _measure(probabilities: np.ndarray, labels: np.ndarray, classes: np.ndarray) -> dict:
    from sklearn.metrics import log_loss

    predicted = classes[np.argmax(probabilities, axis=1)]
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "log_loss": float(log_loss(labels, probabilities, labels=classes)),
    }


def _same_order(probabilities: list[np.ndarray], labels: list[np.ndarray]) -> list[np.ndarray]:
    """Return probabilities; raise if the examples of the models are not the same."""
    if any(not np.array_equal(one, labels[0]) for one in labels):
        raise ValueError(
            "`test` must have the same order whenever it is read, so that the probabilities of "
            "several models are of one example: leave out `shuffle`. Received: labels in another "
            "order"
        )
    return probabilities


def _averaged(encoders: list[Any], train: Any) -> keras.layers.Layer | None:
    """Return an encoder with averaged weights if all are of one architecture with weights."""
    if not all(isinstance(one, keras.layers.Layer) for one in encoders):
        return None
    for one in encoders:
        ensure_built(one, train)
    if architecture_difference(encoders) or not encoders[0].weights:
        return None
    return average_weights(encoders, data=train)


def _default_estimators(probe: LinearProbe, examples: int, seed: int) -> dict[str, Any]:
    from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier

    single = probe.classifier(examples)
    return {
        "bagging": BaggingClassifier(single, n_estimators=10, random_state=seed),
        "boosting": HistGradientBoostingClassifier(random_state=seed),
    }


def _check_estimators(estimators: Mapping[str, Any] | None, models: int) -> None:
    rows = {_ONE_MODEL.format(number + 1) for number in range(models)}
    rows |= {"mean of models", "average of weights", *_EXPERTS}
    for name, estimator in (estimators or {}).items():
        if not hasattr(estimator, "predict_proba") or isinstance(estimator, type):
            raise TypeError(
                "`estimators` must be classifiers of scikit-learn with `predict_proba`, by name. "
                f"Received: {estimator!r} for {name!r}"
            )
        if name in rows:
            raise ValueError(
                f"`estimators` must not have the name of another row. Received: {name!r}"
            )


def _check_classes(train: np.ndarray, test: np.ndarray) -> None:
    unknown = np.setdiff1d(test, classes_of(train))
    if len(unknown):
        raise ValueError(
            "`test` must hold classes of `train` only, since others have no probability. "
            f"Received: {unknown.tolist()}"
        )
