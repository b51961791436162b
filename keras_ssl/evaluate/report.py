"""All measures of a representation, compared with untrained baselines."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import ensure_built, forward_function
from keras_ssl.evaluate._labels import labelled_only
from keras_ssl.evaluate._subset import balanced_subset
from keras_ssl.evaluate._table import markdown_table
from keras_ssl.evaluate.features import extract_features, raw_pixels
from keras_ssl.evaluate.knn import check_neighbours, check_votes, knn_accuracy
from keras_ssl.evaluate.linear_probe import check_probe, linear_probe
from keras_ssl.evaluate.random_encoder import random_encoder
from keras_ssl.evaluate.spectrum import effective_rank, feature_std


class RepresentationReport(dict):
    """Measures by kind of features, such as `report["encoder"]["knn_accuracy"]`.

    A dictionary of dictionaries of numbers, which `json.dumps` can write. `print(report)` shows a
    table with one row per kind of features.

    Args:
        *args: what `dict` takes: dictionaries of measures by kind of features.
        **kwargs: the same by name.

    Example:

    >>> from keras_ssl.evaluate.report import RepresentationReport
    >>> print(RepresentationReport({"encoder": {"dimensions": 64, "knn_accuracy": 0.8123}}))
    | features | dimensions | k-NN accuracy |
    |----------|-----------:|--------------:|
    | encoder  |         64 |        81.2 % |
    """

    _titles = {  # noqa: RUF012
        "dimensions": "dimensions",
        "knn_accuracy": "k-NN accuracy",
        "linear_probe": "linear probe",
        "few_label_probe": "few-label probe",
        "effective_rank": "effective rank",
        "feature_std": "feature std",
    }

    def __str__(self) -> str:
        """Return an aligned Markdown table."""
        measures = list(next(iter(self.values()), {}))
        header = ["features", *(self._titles.get(name, name) for name in measures)]
        rows = [[kind, *map(_cell, measures, row.values())] for kind, row in self.items()]
        return markdown_table(header, rows)


def representation_report(
    encoder: keras.layers.Layer | Callable,
    train: Any,
    test: Any,
    labels_per_class: int | None = 10,
    trials: int = 5,
    k: int = 20,
    temperature: float = 0.1,
    regularization: float = 0.01,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 1,
) -> RepresentationReport:
    """Measure a representation, and compare it with a random encoder and the raw pixels.

    An accuracy alone says little: on simple images raw pixels do well, and so does an untrained
    encoder. What counts is the improvement over them. All rows are measured on the same examples,
    and the few-label probes on the same subsets.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch that returns features.
            A plain function has no row for the random encoder.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays, in the scale that `encoder` expects. Labels are integers or
            strings; examples with the label -1, which means no label, are left out of accuracies.
        test: labelled data in the same form.
        labels_per_class: examples per class for the few-label probe. `None` omits that probe.
        trials: number of random subsets over which the few-label probe is averaged.
        k: number of neighbours of the k-NN vote.
        temperature: temperature of the k-NN vote.
        regularization: regularization of the linear probes.
        batch_size: examples per batch if the data is arrays.
        seed: seed of the random encoder and of the few-label subsets.
        verbose: 1 to print what is being measured, 0 for silence.

    Returns:
        A dictionary with the keys `"encoder"`, `"random encoder"` and `"raw pixels"`, each with
        `dimensions`, `knn_accuracy`, `linear_probe`, `few_label_probe` (accuracies from 0 to 1),
        `effective_rank` and `feature_std` (mean over dimensions), all measured on `test`. `print`
        shows it as a table.

    Raises:
        TypeError: if labels are neither integers nor strings, or `temperature` is not a number.
        ValueError: as raised by the functions that measure. Arguments and data are checked before
            the first measurement.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> x, y = np.random.default_rng(0).normal(size=(60, 4)).astype("float32"), np.arange(60) % 2
    >>> x[:, 0] += 9 * y
    >>> encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8)])
    >>> report = evaluate.representation_report(
    ...     encoder, (x[:40], y[:40]), (x[40:], y[40:]), labels_per_class=5, verbose=0
    ... )
    >>> list(report)
    ['encoder', 'random encoder', 'raw pixels']
    >>> report["raw pixels"]["linear_probe"]
    1.0
    """
    check_votes(k, temperature)
    check_probe(labels_per_class, 1 if labels_per_class is None else trials, regularization)
    train = as_batches(train, "train", batch_size, labelled=True)
    test = as_batches(test, "test", batch_size, labelled=True)
    labels = np.concatenate([y for _, y in train])
    (labels,) = labelled_only(labels, labels, "train")[:1]
    check_neighbours(labels, k)
    if labels_per_class is not None:
        balanced_subset(labels, labels_per_class, seed)

    ensure_built(encoder, train)
    candidates = {"encoder": encoder}
    if isinstance(encoder, keras.layers.Layer):
        candidates["random encoder"] = random_encoder(encoder, seed)
    candidates["raw pixels"] = raw_pixels

    report = RepresentationReport()
    for kind, candidate in candidates.items():
        if verbose:
            print(f"Measuring {kind}", flush=True)
        forward = forward_function(candidate)
        # a random encoder has the statistics that it was made with
        forward.may_lag = forward.may_lag and candidate is encoder
        # from here on, the features are the inputs of `raw_pixels`
        train_set = extract_features(forward, train, verbose=verbose)
        test_set = extract_features(forward, test, verbose=verbose)
        row = {
            "dimensions": train_set[0].shape[1],
            "knn_accuracy": knn_accuracy(raw_pixels, train_set, test_set, k, temperature),
            "linear_probe": linear_probe(
                raw_pixels, train_set, test_set, regularization=regularization
            ),
        }
        if labels_per_class is not None:
            row["few_label_probe"] = linear_probe(
                raw_pixels,
                train_set,
                test_set,
                labels_per_class=labels_per_class,
                trials=trials,
                regularization=regularization,
                seed=seed,
            )
        row["effective_rank"] = effective_rank(test_set[0])
        row["feature_std"] = float(feature_std(test_set[0]).mean())
        report[kind] = row
    return report


def _cell(name: str, value: float) -> str:
    if name in ("knn_accuracy", "linear_probe", "few_label_probe"):
        return f"{100 * value:.1f} %"
    if name == "feature_std":
        return f"{value:.3f}"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
