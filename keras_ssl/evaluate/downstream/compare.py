"""Several encoders in one table, with intervals over seeds."""

import csv
import io
import numbers
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import Batches, as_batches
from keras_ssl.evaluate._forward import check_features, ensure_built, forward_function
from keras_ssl.evaluate._labels import classes_of, labelled_only
from keras_ssl.evaluate._table import markdown_table
from keras_ssl.evaluate.downstream.anomalies import anomaly_report, knn_anomaly_scores
from keras_ssl.evaluate.downstream.clustering_metrics import clustering_metrics
from keras_ssl.evaluate.downstream.few_labels import few_labels
from keras_ssl.evaluate.downstream.k_means import k_means
from keras_ssl.evaluate.features import extract_features, raw_pixels
from keras_ssl.evaluate.knn import knn_accuracy
from keras_ssl.evaluate.linear_probe import linear_probe
from keras_ssl.evaluate.random_encoder import random_encoder
from keras_ssl.evaluate.spectrum import effective_rank

_RAW_PIXELS, _UNTRAINED = "raw pixels", "{}, untrained"


class Comparison(dict):
    """Values by encoder and measure, one for each seed: `comparison["SimCLR"]["k-NN accuracy"]`.

    A dictionary of dictionaries of lists, which `json.dumps` can write.
    `print(comparison)` shows a Markdown table with one row per encoder, and
    `keras_ssl.visualize.plot_comparison` draws a figure.

    Args:
        values: dictionary by encoder of dictionaries by measure of lists of numbers.
        confidence: probability with which an interval covers the mean over all seeds.

    Example:

    >>> from keras_ssl import evaluate
    >>> accuracies = {"ours": {"k-NN": [0.8, 0.9, 0.85]}, "pixels": {"k-NN": [0.7]}}
    >>> comparison = evaluate.Comparison(accuracies)
    >>> print(comparison)
    | encoder | seeds |          k-NN |
    |---------|------:|--------------:|
    | ours    |     3 | 0.850 ± 0.124 |
    | pixels  |     1 |         0.700 |
    >>> print(comparison.to_csv().splitlines()[2])
    pixels,k-NN,1,0.7,,
    """

    def __init__(
        self, values: Mapping[str, Mapping[str, Sequence[float]]], confidence: float = 0.95
    ):
        super().__init__(values)
        self.confidence = checks.below_one("confidence", confidence, positive=True)

    def intervals(self) -> dict[str, dict[str, dict[str, Any]]]:
        r"""Return mean and interval over seeds, by encoder and measure.

        Returns:
            Dictionaries of `seeds`, their number $n$; `mean`; and `low` and `high`, the ends of
            Student's interval $\bar v \pm t_{n-1} s / \sqrt n$, `None` of one seed.
        """
        return {
            encoder: {measure: self._interval(values) for measure, values in row.items()}
            for encoder, row in self.items()
        }

    def _interval(self, values: Sequence[float]) -> dict[str, Any]:
        from scipy import stats

        mean, low, high = float(np.mean(values)), None, None
        if len(values) > 1:
            quantile = stats.t.ppf((1 + self.confidence) / 2, len(values) - 1)
            half = float(quantile * stats.sem(values))
            low, high = mean - half, mean + half
        return {"seeds": len(values), "mean": mean, "low": low, "high": high}

    def to_csv(self, path: str | PathLike[str] | None = None) -> str:
        """Return a line per encoder and measure: its seeds, mean, and ends of the interval.

        Args:
            path: file to write the text to, or `None`.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["encoder", "measure", "seeds", "mean", "low", "high"])
        for encoder, row in self.intervals().items():
            for measure, cell in row.items():
                writer.writerow([encoder, measure, *cell.values()])
        if path is not None:
            Path(path).write_text(text.getvalue())
        return text.getvalue()

    def __str__(self) -> str:
        """Return an aligned Markdown table of means and halves of the intervals."""
        measures = list(dict.fromkeys(measure for row in self.values() for measure in row))
        rows = []
        for encoder, row in self.intervals().items():
            seeds = max((cell["seeds"] for cell in row.values()), default=0)
            cells = [_cell(row[measure]) if measure in row else "" for measure in measures]
            rows.append([encoder, str(seeds), *cells])
        return markdown_table(["encoder", "seeds", *measures], rows)


def compare(
    encoders: Mapping[str, Any],
    train: Any,
    test: Any,
    evaluations: Sequence[str] = ("knn_accuracy", "linear_probe", "clustering", "anomalies"),
    functions: Mapping[str, Callable] | None = None,
    with_raw_pixels: bool = True,
    with_untrained: bool | Sequence[str] = True,
    confidence: float = 0.95,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 1,
) -> Comparison:
    """Measure several encoders in several ways, with intervals over seeds.

    All encoders are measured on the same examples and with the same seed, and those of one name,
    which were trained from several seeds, give an interval. It holds for encoders trained anew, not
    for other data.

    Args:
        encoders: by name a `keras.Model`, Keras layer or function of a batch that returns features,
            or a list of them, one for each seed of the training.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays, in the scale that all encoders expect. Labels are integers or
            strings; examples with the label -1, which means no label, are left out.
        test: labelled data in the same form.
        evaluations: what to measure, all on frozen features:

            | name | measure |
            |---|---|
            | `"knn_accuracy"` | accuracy of the vote of 20 neighbours, or of all there are |
            | `"linear_probe"` | accuracy of a linear classifier |
            | `"clustering"` | NMI of k-means with as many clusters as classes, on `test` |
            | `"anomalies"` | AUROC of the k-NN distance, each class against the rest, averaged |
            | `"few_labels"` | accuracy of linear probes with 1 % and 10 % of the labels |
            | `"effective_rank"` | how many directions the features of `test` use |
        functions: further measures by name: functions `(encoder, train, test)` to a number or a
            dictionary of numbers, where `train` and `test` are the data as they were given.
        with_raw_pixels: whether to add the row `"raw pixels"`.
        with_untrained: whether to add a row for each name with untrained copies of its Keras
            models, see `keras_ssl.evaluate.random_encoder`; or the names of those to add. Names
            with one architecture have the same untrained copies.
        confidence: probability with which an interval covers the mean over all seeds.
        batch_size: examples per batch if the data is arrays.
        seed: seed of the clustering, of few labels, and of the first untrained copy.
        verbose: 1 to print what is being measured, 0 for silence.

    Returns:
        A `keras_ssl.evaluate.Comparison`: a list of values, one for each seed, by encoder and
        measure.

    Raises:
        TypeError: if `encoders` is no dictionary of encoders, a function returns no numbers, or
            labels are neither integers nor strings.
        ValueError: if there is nothing to measure, a name is unknown or occurs twice, data is
            empty, infinite, not batched or without labels, there is only one class, features are
            not finite, or `confidence` is not between 0 and 1.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> y = np.arange(60) % 2
    >>> x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32") + 9 * y[:, None]
    >>> encoders = [
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)]) for seed in range(3)
    ... ]
    >>> comparison = evaluate.compare(
    ...     {"ours": encoders}, (x, y), (x, y), ["clustering"], with_untrained=False, verbose=0
    ... )
    >>> comparison["raw pixels"], len(comparison["ours"]["NMI"])
    ({'NMI': [1.0]}, 3)
    """
    rows = _check_encoders(encoders)
    _check_evaluations(evaluations, functions)
    names = _check_untrained(with_untrained, rows)
    functions = dict(functions or {})
    found = Comparison({}, confidence)
    batches = [
        as_batches(data, name, batch_size, labelled=True)
        for name, data in (("train", train), ("test", test))
    ]
    seed = checks.integer("seed", seed, minimum=0)
    for one in batches:
        labels = np.concatenate([y for _, y in one])
        (labels,) = labelled_only(labels, labels, one.name)[:1]
        if one.name == "train":
            classes_of(labels)
    candidates = _with_baselines(rows, names, with_raw_pixels, batches[0], seed)
    for name, some in candidates.items():
        found[name] = {}
        for number, encoder in enumerate(some):
            if verbose:
                print(f"Measuring {name}, {number + 1} of {len(some)}", flush=True)
            values = _measure(encoder, batches, evaluations, seed, name in rows)
            for label, function in functions.items():
                values |= _as_numbers(label, function(encoder, train, test))
            for measure, value in values.items():
                found[name].setdefault(measure, []).append(value)
    return found


class _Features(NamedTuple):
    """Features and labels of both sets, and the seed."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    seed: int


def _measure(
    encoder: Any, batches: list[Batches], evaluations: Sequence[str], seed: int, may_lag: bool
) -> dict[str, float]:
    if not evaluations:
        return {}
    forward = forward_function(encoder)
    # untrained encoders have the statistics that they were made with
    forward.may_lag = forward.may_lag and may_lag
    pairs = []
    for one in batches:
        features, labels = extract_features(forward, one)
        pairs.append(labelled_only(check_features(features, one.name), labels, one.name))
    task = _Features(*pairs, seed)
    return {
        measure: float(value)
        for name in evaluations
        for measure, value in _EVALUATIONS[name](task).items()
    }


def _nearest(task: _Features) -> dict[str, float]:
    k = min(20, len(task.train[1]))
    return {"k-NN accuracy": knn_accuracy(raw_pixels, task.train, task.test, k)}


def _probe(task: _Features) -> dict[str, float]:
    return {"linear probe": linear_probe(raw_pixels, task.train, task.test)}


def _clustering(task: _Features) -> dict[str, float]:
    features, labels = task.test
    result = k_means(features, len(np.unique(labels)), seed=task.seed)
    found = clustering_metrics(labels, result.clusters)
    return {"NMI": found["normalized_mutual_information"]}


def _anomalies(task: _Features) -> dict[str, float]:
    report = anomaly_report(
        raw_pixels, task.train, task.test, detectors={"knn": knn_anomaly_scores}
    )
    return {"anomaly AUROC": report["knn"]["auroc"]}


def _few_labels(task: _Features) -> dict[str, float]:
    report = few_labels(raw_pixels, task.train, task.test, methods=["linear_probe"], seed=task.seed)
    return report.means()


def _rank(task: _Features) -> dict[str, float]:
    return {"effective rank": effective_rank(task.test[0])}


_EVALUATIONS = {
    "knn_accuracy": _nearest,
    "linear_probe": _probe,
    "clustering": _clustering,
    "anomalies": _anomalies,
    "few_labels": _few_labels,
    "effective_rank": _rank,
}


def _with_baselines(
    rows: dict[str, list[Any]], names: list[str], pixels: bool, train: Batches, seed: int
) -> dict[str, list[Any]]:
    """Return encoders by name, each followed by its untrained copies, raw pixels last."""
    found = {}
    for name, some in rows.items():
        found[name] = some
        for encoder in some:
            ensure_built(encoder, train)
        if name in names:
            copies = [random_encoder(one, seed + number) for number, one in enumerate(some)]
            found[_UNTRAINED.format(name)] = copies
    return found | ({_RAW_PIXELS: [raw_pixels]} if pixels else {})


def _check_encoders(encoders: Any) -> dict[str, list[Any]]:
    if not isinstance(encoders, Mapping) or not all(isinstance(name, str) for name in encoders):
        raise TypeError(
            "`encoders` must be a dictionary of encoders, or of lists of them, by name. "
            f"Received: {encoders!r}"
        )
    rows = {
        name: list(some) if isinstance(some, (list, tuple)) else [some]
        for name, some in encoders.items()
    }
    empty = [name for name, some in rows.items() if not some]
    if empty or not rows:
        raise ValueError(
            "`encoders` must hold one encoder or more for each name, and one name. "
            f"Received: {'none for ' + repr(empty[0]) if empty else 'no names'}"
        )
    taken = {_RAW_PIXELS, *map(_UNTRAINED.format, rows)} & set(rows)
    if taken:
        raise ValueError(
            f"`encoders` must not have the names of baselines. Received: {sorted(taken)}"
        )
    for some in rows.values():
        for encoder in some:
            forward_function(encoder)
    return rows


def _check_evaluations(evaluations: Any, functions: Any) -> None:
    unknown = isinstance(evaluations, str) or [
        one for one in evaluations if one not in _EVALUATIONS
    ]
    if unknown:
        raise ValueError(
            f"`evaluations` must be a list of some of {list(_EVALUATIONS)}; pass others as "
            f"`functions`. Received: evaluations={evaluations!r}"
        )
    for name, function in (functions or {}).items():
        if not callable(function):
            raise TypeError(
                "`functions` must be functions of (encoder, train, test) by name. "
                f"Received: {function!r} for {name!r}"
            )
    if not evaluations and not functions:
        raise ValueError("`evaluations` or `functions` must name something. Received: neither")


def _check_untrained(with_untrained: bool | Sequence[str], rows: dict[str, list[Any]]) -> list[str]:
    """Return the names of which untrained copies are measured."""
    possible = [
        name
        for name, some in rows.items()
        if all(isinstance(one, keras.layers.Layer) for one in some)
    ]
    if isinstance(with_untrained, bool):
        return possible if with_untrained else []
    unknown = [name for name in with_untrained if name not in possible]
    if unknown or isinstance(with_untrained, str):
        raise ValueError(
            "`with_untrained` must be True, False or a list of names in `encoders` that are Keras "
            f"models. Received: {with_untrained!r}, where {possible} are possible"
        )
    return list(with_untrained)


def _as_numbers(name: str, value: Any) -> dict[str, float]:
    """Return what a function returned as numbers by measure."""
    values = value if isinstance(value, Mapping) else {name: value}
    if not all(isinstance(one, numbers.Real) for one in values.values()):
        raise TypeError(
            f"The function {name!r} of `functions` must return a number or a dictionary of "
            f"numbers. Received: {value!r}"
        )
    return {
        measure if values is not value else f"{name}, {measure}": float(one)
        for measure, one in values.items()
    }


def _cell(cell: dict[str, Any]) -> str:
    digits = 3 if abs(cell["mean"]) < 10 else 1
    half = "" if cell["low"] is None else f" ± {cell['mean'] - cell['low']:.{digits}f}"
    return f"{cell['mean']:.{digits}f}{half}"
