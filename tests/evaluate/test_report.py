import json

import keras
import numpy as np
import pytest

from keras_ssl import evaluate
from tests.evaluate.fashion import convolutional_encoder, fashion


@pytest.fixture(scope="module")
def supervised_encoder():
    """An encoder trained with labels, since that is fast."""
    encoder = convolutional_encoder()
    classifier = keras.Sequential([encoder, keras.layers.Dense(10)])
    classifier.compile(
        keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    classifier.fit(*fashion("train[5000:8000]"), batch_size=50, epochs=12, verbose=0)
    return encoder


@pytest.mark.full
def test_trained_encoder_beats_random_encoder(supervised_encoder):
    train, test = fashion("train[:500]"), fashion("test[:500]")
    report = evaluate.representation_report(supervised_encoder, train, test, verbose=0)
    assert list(report) == ["encoder", "random encoder", "raw pixels"]
    assert [row["dimensions"] for row in report.values()] == [32, 32, 784]
    for measure in ("knn_accuracy", "linear_probe", "few_label_probe"):
        assert report["encoder"][measure] > report["random encoder"][measure] + 0.05

    # each number equals that of its function
    fresh = evaluate.random_encoder(supervised_encoder)
    for kind, encoder in (
        ("encoder", supervised_encoder),
        ("random encoder", fresh),
        ("raw pixels", evaluate.raw_pixels),
    ):
        row = report[kind]
        features, _ = evaluate.extract_features(encoder, test)
        assert row["knn_accuracy"] == evaluate.knn_accuracy(encoder, train, test)
        assert row["effective_rank"] == pytest.approx(evaluate.effective_rank(features))
        assert row["feature_std"] == pytest.approx(evaluate.feature_std(features).mean())
    assert report["encoder"]["linear_probe"] == evaluate.linear_probe(
        supervised_encoder, train, test
    )
    assert report["encoder"]["few_label_probe"] == evaluate.linear_probe(
        supervised_encoder, train, test, labels_per_class=10, trials=5
    )


X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
Y = np.arange(40) % 2


def small_report(**arguments):
    good = {"encoder": keras.layers.Dense(4), "train": (X, Y), "test": (X, Y), "k": 3}
    return evaluate.representation_report(**{**good, "verbose": 0, **arguments})


def test_table_and_json():
    report = small_report(labels_per_class=5)
    lines = str(report).splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [
        "features", "dimensions", "k-NN accuracy", "linear probe", "few-label probe",
        "effective rank", "feature std",
    ]  # fmt: skip
    assert lines[2].startswith("| encoder ")
    assert f"{100 * report['encoder']['knn_accuracy']:.1f} %" in lines[2]
    assert json.loads(json.dumps(report)) == report


def test_plain_function_has_no_random_encoder():
    report = small_report(encoder=lambda x: x[:, :3], labels_per_class=None)
    assert list(report) == ["encoder", "raw pixels"]
    assert "few_label_probe" not in report["encoder"]
    assert "few-label" not in str(report)


def test_uint8_images_and_an_encoder_that_is_not_built():
    train, test = fashion("train[:60]"), fashion("test[:60]")
    report = small_report(
        encoder=keras.layers.Conv2D(2, 7, strides=7), train=train, test=test, labels_per_class=None
    )
    assert [row["dimensions"] for row in report.values()] == [32, 32, 784]


def test_prints_what_it_measures(capsys):
    small_report(labels_per_class=None, verbose=1)
    printed = capsys.readouterr().out
    assert all(kind in printed for kind in ("encoder", "random encoder", "raw pixels"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels_per_class": 21}, "`labels_per_class` must not exceed"),
        ({"labels_per_class": 0}, "`labels_per_class` must be a positive integer"),
        ({"train": X}, "`train` must carry labels"),
        ({"test": X}, "`test` must carry labels"),
        ({"k": 41}, "`k` must not exceed"),
        ({"k": 0}, "`k` must be a positive integer"),
        ({"temperature": 0}, "`temperature` must be"),
        ({"trials": 0}, "`trials` must be"),
        ({"regularization": 0}, "`regularization` must be"),
        ({"train": (X, Y * 0)}, "at least two classes"),
    ],
)
def test_wrong_arguments_raise_before_encoding(arguments, message):
    def encoder(x):
        raise AssertionError("encoded")

    with pytest.raises(ValueError, match=message):
        small_report(**{"encoder": encoder, **arguments})


def test_empty_report_prints():
    assert str(evaluate.RepresentationReport()).startswith("| features |")
