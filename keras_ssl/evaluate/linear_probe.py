"""A linear model on frozen features."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import check_features, forward_function
from keras_ssl.evaluate._labels import (
    class_labels,
    classes_of,
    labelled_only,
    multi_labels,
    numbers,
)
from keras_ssl.evaluate._metrics import check_metrics, measure
from keras_ssl.evaluate._subset import balanced_subset
from keras_ssl.evaluate.features import extract_features, labelled_features

_READERS = {"classification": class_labels, "multi_label": multi_labels, "regression": numbers}


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
    task: str = "classification",
    class_weight: Mapping[Any, float] | str | None = None,
    metric: str | None = None,
) -> float:
    r"""Compute the accuracy of a linear classifier on the features of a frozen encoder.

    Multinomial logistic regression on standardised features $f$ (mean 0 and variance 1 over the
    training examples), fitted by L-BFGS to convergence. It minimizes

    $$\frac1n \sum_{i=1}^n -\log p(y_i \mid W f_i + b) + \frac{\lambda}{2} \lVert W \rVert^2$$

    The encoder is not trained, and no augmentation is applied. The result is deterministic.
    `keras_ssl.evaluate.LinearProbe` is the same model as an object that predicts.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch that returns features.
            For precomputed features, pass `keras_ssl.evaluate.raw_pixels` and the features in
            place of the inputs.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Labels are integers or strings; examples with the label -1, which
            means no label, are left out.
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
        task: `"classification"`, `"multi_label"` or `"regression"`, see
            `keras_ssl.evaluate.LinearProbe`.
        class_weight: weights of the classes in the fit: a dictionary by label, or `"balanced"` for
            weights inversely proportional to the numbers of examples. `None` weighs all alike.
        metric: what to compute in place of the accuracy, see `keras_ssl.evaluate.LinearProbe`.

    Returns:
        The accuracy on `test`, from 0 to 1, or the value of `metric`.

    Raises:
        TypeError: if labels are neither integers nor strings, or integer arguments no integers.
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
    probe = LinearProbe(
        encoder, task, regularization, class_weight, max_iterations, batch_size, verbose
    )
    if labels_per_class is not None and task != "classification":
        raise ValueError(
            "`labels_per_class` needs classes: `task='classification'`. "
            f"Received: task={task!r}, labels_per_class={labels_per_class}"
        )
    metric = probe.default_metric if metric is None else metric
    probe.check_metrics([metric])
    train, test = probe.read(train, "train"), probe.read(test, "test")
    train_features, train_labels = probe.extract(train)
    test_features, test_labels = probe.extract(test)
    if labels_per_class is None:
        subsets = [slice(None)]
    else:
        subsets = [
            balanced_subset(train_labels, labels_per_class, seed + trial) for trial in range(trials)
        ]
    values = []
    for subset in subsets:
        probe.fit_features(train_features[subset], train_labels[subset])
        values.append(probe.measure(test_features, test_labels, [metric])[metric])
    return float(np.mean(values))


class LinearProbe:
    r"""Linear model of labels on the features of a frozen encoder, which predicts labels.

    Features $f$ are standardised to mean 0 and variance 1 over the labelled training examples.
    What is minimized depends on the task:

    | `task` | labels | missing | loss per example |
    |---|---|---|---|
    | `"classification"` | integers or strings | -1 | $-\log p(y_i \mid W f_i + b)$ |
    | `"multi_label"` | 0 or 1, several | -1 | $-\log p(y_{ij} \mid w_j f_i + b_j)$ for each j |
    | `"regression"` | numbers, one or several | NaN | $\frac12 \lVert y_i - W f_i - b \rVert^2$ |

    Its mean over the labelled examples is added to $\frac{\lambda}{2} \lVert W \rVert^2$. The fit
    is scikit-learn's: `LogisticRegression` for the first two, for each label of a multi-label task
    on its own, and `Ridge` for the third.

    Metrics of `evaluate`, by name; the first of each task is the default:

    - classification: `"accuracy"`, `"balanced_accuracy"` (the mean accuracy of the classes),
      `"macro_f1"`, and `"top_5_accuracy"` or any other number;
    - multi-label: `"accuracy"` over all known labels, `"mean_average_precision"` (the mean over
      labels), `"macro_f1"` and `"micro_f1"`;
    - regression: `"r2"`, `"mean_squared_error"` and `"mean_absolute_error"`.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch that returns features.
            For precomputed features, pass `keras_ssl.evaluate.raw_pixels` and the features in
            place of the inputs.
        task: `"classification"`, `"multi_label"` or `"regression"`.
        regularization: $\lambda$, above 0.
        class_weight: weights of the classes in the fit: a dictionary by label, or `"balanced"` for
            weights inversely proportional to the numbers of examples. `None` weighs all alike.
        max_iterations: maximum number of L-BFGS steps. scikit-learn warns if it is reached.
        batch_size: examples per batch if the data is arrays.
        verbose: 1 for progress bars, 0 for silence.

    Attributes:
        classes: the labels of a classification in the order of the columns of `scores`.
        estimator: the fitted scikit-learn estimator; a list of them in a multi-label task.

    Raises:
        TypeError: if labels or arguments have the wrong type.
        ValueError: if data is empty, infinite, not batched or without labels, there is only one
            class, features are not finite, or an argument is not one of those above.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> x, y = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array(["low", "low", "high", "high"])
    >>> probe = evaluate.LinearProbe(evaluate.raw_pixels).fit((x, y))
    >>> [str(label) for label in probe.predict(np.array([[6.0], [-2.0]]))]
    ['high', 'low']
    >>> probe.evaluate((x, y), ["accuracy", "balanced_accuracy"])
    {'accuracy': 1.0, 'balanced_accuracy': 1.0}

    Reference:
        [Alain & Bengio, 2016](https://arxiv.org/abs/1610.01644)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer | Callable,
        task: str = "classification",
        regularization: float = 0.01,
        class_weight: Mapping[Any, float] | str | None = None,
        max_iterations: int = 1000,
        batch_size: int = 256,
        verbose: int = 0,
    ):
        if task not in _READERS:
            raise ValueError(f"`task` must be one of {list(_READERS)}. Received: task={task!r}")
        is_weight = class_weight in (None, "balanced") or isinstance(class_weight, Mapping)
        if not is_weight or (class_weight is not None and task == "regression"):
            raise ValueError(
                "`class_weight` must be a dictionary of weights by label, 'balanced' or None, and "
                f"None in a regression. Received: class_weight={class_weight!r}, task={task!r}"
            )
        self.task = task
        self.regularization = checks.positive("regularization", regularization)
        self.class_weight = class_weight
        self.max_iterations = checks.integer("max_iterations", max_iterations, minimum=1)
        self.batch_size = checks.integer("batch_size", batch_size, minimum=1)
        self.verbose = verbose
        self.classes = self.estimator = None
        self._forward = forward_function(encoder)

    def fit(self, train: Any) -> "LinearProbe":
        """Fit the model to labelled data.

        Args:
            train: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`, or a tuple
                of arrays.

        Returns:
            The probe itself.
        """
        self.fit_features(*self.extract(self.read(train, "train")))
        return self

    def predict(self, data: Any) -> np.ndarray:
        """Predict the labels of data.

        Args:
            data: as in `fit`; labels are not needed and not read.

        Returns:
            Labels of shape `(examples,)`; zeros and ones `(examples, labels)` in a multi-label
            task; numbers in a regression, `(examples, targets)`.
        """
        return self._labels_of(self.scores(data))

    def scores(self, data: Any) -> np.ndarray:
        """Compute what the model predicts before it decides on labels.

        Args:
            data: as in `fit`; labels are not needed and not read.

        Returns:
            Logits `(examples, classes)`, whose softmax or, in a multi-label task, sigmoid is a
            probability; the predicted numbers in a regression.
        """
        features, _ = extract_features(self._forward, data, self.batch_size, self.verbose)
        return self._scores_of(check_features(features, "data"))

    def evaluate(self, data: Any, metrics: Sequence[str] | None = None) -> dict[str, float]:
        """Measure the predictions on labelled data.

        Args:
            data: as in `fit`. Examples without a label are left out.
            metrics: names of metrics; `None` means the default of the task.

        Returns:
            The values by name.
        """
        metrics = [self.default_metric] if metrics is None else list(metrics)
        self.check_metrics(metrics)
        return self.measure(*self.extract(self.read(data, "data")), metrics)

    # The steps of the above, which `linear_probe` takes one by one

    @property
    def default_metric(self) -> str:
        """The name of the metric that is computed if none is named."""
        return "r2" if self.task == "regression" else "accuracy"

    def check_metrics(self, metrics: Sequence[str]) -> None:
        """Raise a `ValueError` for a metric that the task does not have."""
        check_metrics(self.task, metrics)

    def read(self, data: Any, name: str) -> Any:
        """Return data as batches whose labels are checked."""
        return as_batches(data, name, self.batch_size, labelled=_READERS[self.task])

    def extract(self, batches: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return features and labels of the examples that have a label."""
        return labelled_features(self._forward, batches, self.verbose)

    def fit_features(self, features: np.ndarray, labels: np.ndarray) -> None:
        """Fit the model to features of labelled examples."""
        from threadpoolctl import threadpool_limits

        # One thread: the matrix products are thin, and on busy cores threads that wait for each
        # other took 20 times as long. It also makes the result independent of their number.
        with threadpool_limits(1):
            if self.task == "regression":
                self.estimator = self._regression(len(labels)).fit(features, labels)
            elif self.task == "classification":
                self.classes = classes_of(labels)
                self.estimator = self.classifier(len(labels)).fit(features, labels)
            else:
                self.estimator = [self._fit_label(features, y, j) for j, y in enumerate(labels.T)]

    def classifier(self, examples: int) -> Any:
        """Return the estimator of classes for a number of examples, not fitted."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        # scikit-learn's C weighs the sum over examples, not the mean
        settings = {"C": 1 / (self.regularization * examples), "max_iter": self.max_iterations}
        weight = self.class_weight
        weight = dict(weight) if isinstance(weight, Mapping) else weight
        return make_pipeline(StandardScaler(), LogisticRegression(class_weight=weight, **settings))

    def _fit_label(self, features: np.ndarray, labels: np.ndarray, number: int) -> Any:
        features, labels = labelled_only(features, labels, f"train, label {number},")
        if len(np.unique(labels)) < 2:
            raise ValueError(
                f"`train` must hold examples with and without each label. Received: label {number} "
                f"is {labels[0]} in all {len(labels)}"
            )
        return self.classifier(len(labels)).fit(features, labels)

    def _regression(self, examples: int) -> Any:
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), Ridge(alpha=self.regularization * examples))

    def measure(
        self, features: np.ndarray, labels: np.ndarray, metrics: Sequence[str]
    ) -> dict[str, float]:
        """Return metrics of the predictions for features of labelled examples."""
        scores = self._scores_of(features)
        return measure(self.task, metrics, labels, self._labels_of(scores), scores, self.classes)

    def _scores_of(self, features: np.ndarray) -> np.ndarray:
        from threadpoolctl import threadpool_limits

        if self.estimator is None:
            raise ValueError("Call `fit` first. Received: a probe that is not fitted")
        with threadpool_limits(1):
            if self.task == "regression":
                return self.estimator.predict(features).reshape(len(features), -1)
            if self.task == "multi_label":
                return np.stack([one.decision_function(features) for one in self.estimator], axis=1)
            scores = self.estimator.decision_function(features)
        # of two classes, scikit-learn gives the logit of the second
        return scores if scores.ndim == 2 else np.stack([np.zeros_like(scores), scores], axis=1)

    def _labels_of(self, scores: np.ndarray) -> np.ndarray:
        if self.task == "regression":
            return scores
        if self.task == "multi_label":
            return (scores > 0).astype("int64")
        return self.classes[np.argmax(scores, axis=1)]


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
