"""What features are worth if only a share of the examples has labels."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import Batches, as_batches
from keras_ssl.evaluate._forward import Forward, check_features, forward_function
from keras_ssl.evaluate._labels import classes_of, is_labelled, labelled_only
from keras_ssl.evaluate._subset import stratified_subset
from keras_ssl.evaluate._table import markdown_table
from keras_ssl.evaluate.downstream.propagate_labels import (
    check_spreading,
    propagate_labels,
)
from keras_ssl.evaluate.features import (
    extract_features,
    features_of_batches,
    labelled_features,
    raw_pixels,
)
from keras_ssl.evaluate.fine_tune import fine_tune
from keras_ssl.evaluate.linear_probe import LinearProbe


class FewLabelsReport(dict):
    """Accuracies by method and share of labels, such as `report["fine_tune"][0.01]["mean"]`.

    A dictionary of dictionaries, which `json.dumps` can write. `print(report)` shows a table with
    one row per method.

    Args:
        *args: what `dict` takes: accuracies of each share of labels by method.
        **kwargs: the same by name.

    Example:

    >>> from keras_ssl.evaluate.downstream.few_labels import FewLabelsReport
    >>> one = {"labels": 40, "values": [0.5, 0.6], "mean": 0.55, "std": 0.0707}
    >>> print(FewLabelsReport({"linear_probe": {0.01: one}}))
    | method       | 1 % (40 labels) |
    |--------------|----------------:|
    | linear probe |    55.0 ± 7.1 % |
    """

    def means(self) -> dict[str, float]:
        """Return the mean accuracies by name, such as `"linear probe, 1 %"`."""
        return {
            f"{method.replace('_', ' ')}, {_percent(share)}": cell["mean"]
            for method, row in self.items()
            for share, cell in row.items()
        }

    def __str__(self) -> str:
        """Return an aligned Markdown table."""
        columns = next(iter(self.values()), {}).items()
        header = [f"{_percent(share)} ({cell['labels']} labels)" for share, cell in columns]
        rows = [
            [method.replace("_", " "), *map(_cell, row.values())] for method, row in self.items()
        ]
        return markdown_table(["method", *header], rows)


def few_labels(
    encoder: keras.layers.Layer | Callable,
    train: Any,
    test: Any,
    shares: Sequence[float] = (0.01, 0.1),
    methods: Sequence[str] | None = None,
    estimators: Mapping[str, Any] | None = None,
    trials: int = 3,
    regularization: float = 0.01,
    fine_tuning: Mapping[str, Any] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 0,
) -> FewLabelsReport:
    """Measure accuracies with a share of the labels: a linear probe, fine-tuning, and spreading.

    A subset has the share of every class, rounded, and one example at least. Each trial draws
    another subset, and that of a smaller share is part of that of a larger one. All methods get the
    same subsets, and so does every encoder with the same data and seed. Label spreading also uses
    the features of all other training examples, without their labels. No augmentation is applied.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch that returns features,
            which cannot be fine-tuned. For precomputed features, pass
            `keras_ssl.evaluate.raw_pixels` and the features in place of the inputs.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Labels are integers or strings; examples with the label -1, which
            means no label, are used by label spreading alone. To fine-tune, a data set must have
            the same order whenever it is read: no `shuffle` before each epoch.
        test: labelled data in the same form; examples with the label -1 are left out.
        shares: shares of the labels, above 0 and at most 1.
        methods: of `"linear_probe"` (`keras_ssl.evaluate.linear_probe`), `"fine_tune"`
            (`keras_ssl.evaluate.fine_tune`) and `"label_spreading"`
            (`keras_ssl.evaluate.propagate_labels`). `None` means all; of a plain function, all but
            fine-tuning.
        estimators: by name, further estimators for `keras_ssl.evaluate.propagate_labels`, such as
            `{"propagation": LabelPropagation(kernel="knn")}`.
        trials: number of random subsets of each share.
        regularization: regularization of the linear probe.
        fine_tuning: arguments of `keras_ssl.evaluate.fine_tune` in place of `{"epochs": 30,
            "batch_size": 32}`, the others as they are there. Each run has a copy of an `optimizer`.
        batch_size: examples per batch of the encoder if the data is arrays.
        seed: seed of the first trial; later ones have the seeds after it.
        verbose: 1 to print what is being measured, 0 for silence.

    Returns:
        A dictionary by method, each a dictionary by share of `labels`, the number of labelled
        examples; `values`, the accuracies on `test` of the trials, from 0 to 1; their `mean`; and
        `std`, their sample standard deviation, `None` of one trial. `print` shows it as a table.

    Raises:
        TypeError: if labels are neither integers nor strings, an argument has the wrong type, or
            `encoder` is to be fine-tuned and is not a Keras layer.
        ValueError: if data is empty, infinite, not batched or without labels, there is only one
            class, features are not finite, an argument is out of range or unknown, or data to
            fine-tune on is read in another order the second time.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> y = np.arange(400) % 2
    >>> x = np.random.default_rng(0).normal(size=(400, 4)) + 9 * y[:, None]
    >>> report = evaluate.few_labels(evaluate.raw_pixels, (x, y), (x, y), [0.01])
    >>> report["linear_probe"][0.01]["labels"], report["linear_probe"][0.01]["mean"]
    (4, 1.0)

    Reference:
        - [Chen et al., 2020](https://arxiv.org/abs/2002.05709), section 4.2: 1 % and 10 %
        - [Oliver et al., Realistic Evaluation of Deep Semi-Supervised Learning
          Algorithms](https://arxiv.org/abs/1804.09170): why other trials and equal subsets
    """
    shares = _check_shares(shares)
    trials = checks.integer("trials", trials, minimum=1)
    seed = checks.integer("seed", seed, minimum=0)
    probe = LinearProbe(raw_pixels, regularization=regularization)
    chosen = _check_methods(methods, estimators, encoder)
    fine_tuning = _check_fine_tuning(fine_tuning)
    train = as_batches(train, "train", batch_size, labelled=True)
    test = as_batches(test, "test", batch_size, labelled=True)
    forward = forward_function(encoder)
    features, labels = extract_features(forward, train, verbose=verbose)
    features = check_features(features, "train")
    classes = classes_of(labelled_only(labels, labels, "train")[1])
    test_features, test_labels = labelled_features(forward, test, verbose)
    report = FewLabelsReport({name: {} for name in chosen})
    for share in shares:
        subsets = [stratified_subset(labels, share, seed + trial) for trial in range(trials)]
        for name, method in chosen.items():
            if verbose:
                print(f"Measuring {name}, {_percent(share)}", flush=True)
            values = []
            for number, rows in enumerate(subsets):
                task = _Task(
                    encoder,
                    *(train, test, features, labels, test_features),
                    *(classes, rows, seed + number, probe, fine_tuning),
                )
                values.append(float(np.mean(method(task) == test_labels)))
            report[name][share] = {
                "labels": len(subsets[0]),
                "values": values,
                "mean": float(np.mean(values)),
                "std": float(np.std(values, ddof=1)) if trials > 1 else None,
            }
    return report


class _Task(NamedTuple):
    """What a method gets: data, features, and which examples have labels."""

    encoder: Any
    train: Batches
    test: Batches
    features: np.ndarray
    labels: np.ndarray
    test_features: np.ndarray
    classes: np.ndarray
    rows: np.ndarray
    seed: int
    probe: LinearProbe
    fine_tuning: dict[str, Any]


def _probe(task: _Task) -> np.ndarray:
    """Return the labels of the test examples by a linear probe."""
    task.probe.fit_features(task.features[task.rows], task.labels[task.rows])
    return task.probe.predict(task.test_features)


def _fine_tune(task: _Task) -> np.ndarray:
    """Return the labels of the test examples by a fine-tuned copy of the encoder."""
    settings = dict(task.fine_tuning)
    if settings.get("optimizer") is not None:
        optimizer = settings["optimizer"]
        settings["optimizer"] = type(optimizer).from_config(optimizer.get_config())
    labels = np.searchsorted(task.classes, task.labels[task.rows])
    some = _inputs(task), labels
    settings = {"classes": len(task.classes), "seed": task.seed, **settings}
    model, _ = fine_tune(task.encoder, some, some, **settings)
    forward = Forward(model)
    logits = [logits[is_labelled(y)] for logits, y in features_of_batches(forward, task.test)]
    return task.classes[np.argmax(np.concatenate(logits), axis=1)]


def _inputs(task: _Task) -> Any:
    """Return the inputs of the examples with labels; raise if the order has changed."""
    found, start = [], 0
    for x, y in task.train:
        rows = task.rows[(task.rows >= start) & (task.rows < start + len(y))] - start
        if not np.array_equal(y, task.labels[start : start + len(y)]):
            raise ValueError(
                "`train` must have the same order whenever it is read, to fine-tune on the "
                "examples that the other methods get: leave out `shuffle`, or set "
                "`reshuffle_each_iteration=False`. Received: labels in another order"
            )
        found.append(keras.tree.map_structure(lambda one, rows=rows: np.asarray(one)[rows], x))
        start += len(y)
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *found)


def _spread(task: _Task, estimator: Any = None) -> np.ndarray:
    """Return the labels of the test examples by those of their neighbours."""
    labels = np.full(len(task.labels), -1)
    labels[task.rows] = np.searchsorted(task.classes, task.labels[task.rows])
    found = propagate_labels(task.features, labels, task.test_features, estimator=estimator)
    return task.classes[found]


_METHODS = {"linear_probe": _probe, "fine_tune": _fine_tune, "label_spreading": _spread}


def _check_methods(
    methods: Sequence[str] | None, estimators: Mapping[str, Any] | None, encoder: Any
) -> dict[str, Callable[[_Task], np.ndarray]]:
    is_layer = isinstance(encoder, keras.layers.Layer)
    if methods is None:
        methods = [name for name in _METHODS if is_layer or name != "fine_tune"]
    unknown = [name for name in methods if name not in _METHODS]
    if isinstance(methods, str) or unknown:
        raise ValueError(
            f"`methods` must be a list of some of {list(_METHODS)}. Received: methods={methods!r}"
        )
    if "fine_tune" in methods and not is_layer:
        raise TypeError(
            "`encoder` must be a keras.Model or a Keras layer to be fine-tuned; leave 'fine_tune' "
            f"out of `methods` for others. Received: {encoder!r}"
        )
    chosen = {name: _METHODS[name] for name in methods}
    for name, estimator in (estimators or {}).items():
        check_spreading(estimator)
        if name in chosen:
            raise ValueError(
                "`estimators` must have names that are not among `methods`. "
                f"Received: {name!r}, and methods={list(methods)}"
            )
        chosen[name] = lambda task, estimator=estimator: _spread(task, estimator)
    if not chosen:
        raise ValueError(f"`methods` must name at least one. Received: methods={methods!r}")
    return chosen


def _check_shares(shares: Sequence[float]) -> list[float]:
    shares = list(shares) if isinstance(shares, (Sequence, np.ndarray)) else shares
    if not isinstance(shares, list) or not shares:
        raise ValueError(
            "`shares` must be a list of shares of the labels, such as (0.01, 0.1). "
            f"Received: shares={shares!r}"
        )
    return [checks.positive("shares", share, maximum=1) for share in shares]


def _check_fine_tuning(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    arguments = {"epochs": 30, "batch_size": 32, **(arguments or {})}
    fixed = {"encoder", "train", "test", "classes", "labels_per_class", "seed"} & set(arguments)
    if fixed:
        raise ValueError(
            "`fine_tuning` must be arguments of `evaluate.fine_tune` that are not set by "
            f"`few_labels`. Received: {sorted(fixed)}"
        )
    return arguments


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _cell(cell: dict[str, Any]) -> str:
    spread = "" if cell["std"] is None else f" ± {100 * cell['std']:.1f}"
    return f"{100 * cell['mean']:.1f}{spread} %"
