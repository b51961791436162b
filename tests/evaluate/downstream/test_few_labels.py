"""Accuracies with a share of the labels, beside scikit-learn."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from keras_ssl import evaluate
from keras_ssl.evaluate._subset import stratified_subset


def blobs(rng, count, spread=1.0):
    """Three classes around three corners, 6 of 10 examples of the first."""
    y = rng.choice(3, size=count, p=[0.6, 0.3, 0.1])
    return (4 * np.eye(3)[y] + spread * rng.normal(size=(count, 3))).astype("float32"), y


def dense_encoder(width=8):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(width, "relu")])


def test_methods_equal_scikit_learn_on_the_same_subsets(rng):
    train, test = blobs(rng, 300, 2.0), blobs(rng, 200, 2.0)
    names = np.array(["ant", "bee", "cat"])
    estimators = {"propagation": LabelPropagation(gamma=0.5)}
    report = evaluate.few_labels(
        evaluate.raw_pixels,
        (train[0], names[train[1]]),
        (test[0], names[test[1]]),
        shares=[0.05, 0.2],
        estimators=estimators,
        trials=3,
        seed=5,
    )
    assert list(report) == ["linear_probe", "label_spreading", "propagation"]
    for share in (0.05, 0.2):
        expected = {name: [] for name in report}
        for trial in range(3):
            rows = stratified_subset(train[1], share, 5 + trial)
            labels = np.full(300, -1)
            labels[rows] = train[1][rows]
            probe = make_pipeline(
                StandardScaler(), LogisticRegression(C=1 / (0.01 * len(rows)), max_iter=1000)
            ).fit(train[0][rows], labels[rows])
            expected["linear_probe"].append(probe.score(*test))
            spread = evaluate.propagate_labels(train[0], labels, test[0])
            expected["label_spreading"].append(np.mean(spread == test[1]))
            propagation = LabelPropagation(gamma=0.5).fit(train[0].astype("float64"), labels)
            expected["propagation"].append(propagation.score(test[0].astype("float64"), test[1]))
        for name, values in expected.items():
            cell = report[name][share]
            np.testing.assert_allclose(cell["values"], values, atol=0.0051)  # one of 200
            assert cell["labels"] == len(rows)
            assert cell["mean"] == pytest.approx(np.mean(cell["values"]))
            assert cell["std"] == pytest.approx(np.std(cell["values"], ddof=1))
    json.dumps(report)


def test_fine_tunes_copies_on_the_subset(rng):
    (x, y), test = blobs(rng, 300), blobs(rng, 100)
    test = (np.concatenate([test[0], test[0][:9]]), np.concatenate([test[1], np.full(9, -1)]))
    encoder = dense_encoder()
    before = encoder.get_weights()
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(self.model.optimizer.learning_rate))

    settings = {
        "epochs": 20,
        "batch_size": 8,
        "optimizer": keras.optimizers.SGD(0.25),
        "callbacks": [Watch()],
    }
    dataset = tf.data.Dataset.from_tensor_slices((x, y * 10)).batch(64)
    arguments = {"methods": ["fine_tune"], "trials": 1, "fine_tuning": settings}
    report = evaluate.few_labels(
        encoder, dataset, (test[0], np.where(test[1] < 0, -1, 10 * test[1])), [0.1], **arguments
    )
    assert report["fine_tune"][0.1]["mean"] > 0.8 and seen == [0.25] * 20
    for one, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, old)
    again = evaluate.few_labels(encoder, (x, y), test, [0.1], **arguments)
    assert again == report  # neither the names of classes nor the form of the data matter


def test_reports_print_as_tables(rng):
    data = blobs(rng, 200)
    report = evaluate.few_labels(
        evaluate.raw_pixels, data, data, [0.1, 1], ["linear_probe"], trials=1
    )
    assert report["linear_probe"][0.1]["std"] is None
    lines = str(report).splitlines()
    assert lines[0].startswith("| method       | 10 % (20 labels) | 100 % (200 labels) |")
    first, second = (report["linear_probe"][share]["mean"] for share in (0.1, 1.0))
    assert lines[2].split("|")[2].strip() == f"{100 * first:.1f} %"
    assert report.means() == {"linear probe, 10 %": first, "linear probe, 100 %": second}


def test_bad_input_is_refused(rng):
    data = blobs(rng, 60)

    def run(encoder=evaluate.raw_pixels, train=data, test=data, **arguments):
        return evaluate.few_labels(encoder, train, test, **arguments)

    for shares in ([], 0.1):
        with pytest.raises(ValueError, match="`shares` must be a list of shares"):
            run(shares=shares)
    for shares in ([0.0], [1.5]):
        with pytest.raises(ValueError, match="`shares` must be a positive number of at most 1"):
            run(shares=shares)
    for methods in ("linear_probe", ["svm"]):
        with pytest.raises(ValueError, match=r"`methods` must be a list of some of"):
            run(methods=methods)
    with pytest.raises(ValueError, match="`methods` must name at least one"):
        run(methods=[])
    with pytest.raises(TypeError, match="to be fine-tuned"):
        run(methods=["fine_tune"])
    with pytest.raises(ValueError, match=r"names that are not among `methods`"):
        run(estimators={"linear_probe": LabelSpreading()})
    with pytest.raises(ValueError, match=r"`fine_tuning` must be.*Received: \['seed'\]"):
        run(fine_tuning={"seed": 1})
    with pytest.raises(ValueError, match="two classes"):
        run(train=(data[0], np.zeros(60, int)))
    with pytest.raises(ValueError, match="must be finite"):
        run(train=(data[0] * np.nan, data[1]))
    with pytest.raises(TypeError, match="must be integers"):
        run(train=(data[0], data[1] / 2))
    shuffled = tf.data.Dataset.from_tensor_slices(data).shuffle(60, seed=0).batch(20)
    assert run(train=shuffled, shares=[0.2])["linear_probe"][0.2]["mean"] > 0.5
    with pytest.raises(ValueError, match=r"`train` must have the same order.*leave out `shuffle`"):
        run(dense_encoder(), train=shuffled, methods=["fine_tune"], shares=[0.2])
