"""Metrics of predicted labels, by task and name."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def check_metrics(task: str, metrics: Sequence[str]) -> None:
    """Raise a `ValueError` for a metric that a task does not have."""
    for metric in metrics:
        if metric not in _METRICS[task] and not (
            task == "classification" and re.fullmatch(r"top_[1-9]\d*_accuracy", metric)
        ):
            raise ValueError(
                f"`metric` must be one of {list(_METRICS[task])} for task={task!r}"
                f"{', or such as top_5_accuracy' * (task == 'classification')}. "
                f"Received: {metric!r}"
            )


def measure(
    task: str,
    metrics: Sequence[str],
    labels: np.ndarray,
    predicted: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray | None = None,
) -> dict[str, float]:
    """Return metrics of predictions by name.

    Args:
        task: `"classification"`, `"multi_label"` or `"regression"`.
        metrics: names of metrics.
        labels: the true labels.
        predicted: the predicted ones.
        scores: what they were decided by, with a column for each class or label.
        classes: the labels of a classification in the order of the columns of `scores`.
    """
    found = {}
    for metric in metrics:
        top = re.fullmatch(r"top_(\d+)_accuracy", metric)
        if top is not None:
            best = np.argsort(-scores, axis=1, kind="stable")[:, : int(top[1])]
            found[metric] = float(np.mean((classes[best] == labels[:, None]).any(axis=1)))
        else:
            found[metric] = float(_METRICS[task][metric](labels, predicted, scores))
    return found


def _balanced_accuracy(labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> float:
    # scikit-learn's warns of predicted classes that do not occur
    return np.mean([np.mean(predicted[labels == one] == one) for one in np.unique(labels)])


def _macro_f1(labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return f1_score(labels, predicted, average="macro", zero_division=0.0)


def _known(function: str, **settings: Any) -> Callable:
    """A metric of scikit-learn over all known labels of a multi-label task."""

    def metric(labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> float:
        from sklearn import metrics

        known = labels >= 0
        return getattr(metrics, function)(labels[known], predicted[known], **settings)

    return metric


def _mean_over_labels(function: str, of_scores: bool, **settings: Any) -> Callable:
    """The mean over labels of a metric of scikit-learn; labels that never occur are left out."""

    def metric(labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> float:
        from sklearn import metrics

        values = []
        for y, outputs in zip(labels.T, (scores if of_scores else predicted).T, strict=True):
            known = y >= 0
            if (y == 1).any():
                values.append(getattr(metrics, function)(y[known], outputs[known], **settings))
        return np.mean(values) if values else float("nan")

    return metric


def _of_numbers(function: str) -> Callable:
    def metric(labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> float:
        from sklearn import metrics

        return getattr(metrics, function)(labels, predicted)

    return metric


_METRICS = {
    "classification": {
        "accuracy": lambda labels, predicted, scores: np.mean(labels == predicted),
        "balanced_accuracy": _balanced_accuracy,
        "macro_f1": _macro_f1,
    },
    "multi_label": {
        "accuracy": _known("accuracy_score"),
        "mean_average_precision": _mean_over_labels("average_precision_score", of_scores=True),
        "macro_f1": _mean_over_labels("f1_score", of_scores=False, zero_division=0.0),
        "micro_f1": _known("f1_score", zero_division=0.0),
    },
    "regression": {
        "r2": _of_numbers("r2_score"),
        "mean_squared_error": _of_numbers("mean_squared_error"),
        "mean_absolute_error": _of_numbers("mean_absolute_error"),
    },
}
