"""Combinations of models beside scikit-learn."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from keras_ssl import evaluate


def blobs(rng, count):
    y = rng.integers(3, size=count)
    names = np.array(["ant", "bee", "cat"])[y]
    return (2 * np.eye(3)[y] + rng.normal(size=(count, 3))).astype("float32"), names


def measured(y, probabilities):
    classes = np.array(["ant", "bee", "cat"])
    probabilities = probabilities.astype("float64")
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = classes[probabilities.argmax(axis=1)]
    values = {"accuracy": accuracy_score(y, predicted), "log_loss": log_loss(y, probabilities)}
    return pytest.approx(values, abs=1e-5)


def single(examples):
    return make_pipeline(StandardScaler(), LogisticRegression(C=1 / (0.01 * examples)))


def test_rows_equal_scikit_learn(rng):
    (x, y), (test_x, test_y) = blobs(rng, 150), blobs(rng, 100)
    encoders = [lambda x: x[:, :2], lambda x: x[:, 1:]]
    report = evaluate.combine(encoders, (x, y), (test_x, test_y), seed=3)
    assert list(report) == [
        *("model 1", "model 2", "mean of models", "mixture of experts", "product of experts"),
        *("bagging", "boosting"),
    ]
    one, other = (
        single(150).fit(x[:, part], y).predict_proba(test_x[:, part])
        for part in (slice(0, 2), slice(1, 3))
    )
    assert report["model 1"] == measured(test_y, one)
    assert report["model 2"] == measured(test_y, other)
    for name in ("accuracy", "log_loss"):
        mean = (report["model 1"][name] + report["model 2"][name]) / 2
        assert report["mean of models"][name] == pytest.approx(mean)
    assert report["mixture of experts"] == measured(test_y, (one + other) / 2)
    product = one * other / np.sum(one * other, axis=1, keepdims=True)
    assert report["product of experts"] == measured(test_y, product)
    bagging = BaggingClassifier(single(150), n_estimators=10, random_state=3)
    boosting = HistGradientBoostingClassifier(random_state=3)
    for name, estimator in (("bagging", bagging), ("boosting", boosting)):
        with threadpool_limits(1):
            expected = estimator.fit(x[:, :2], y).predict_proba(test_x[:, :2])
        assert report[name] == measured(test_y, expected)
    json.dumps(report)
    lines = str(report).splitlines()
    assert lines[0] == "| combination        | accuracy | log loss |"
    assert len(lines) == 9


def test_averages_of_weights_have_a_probe_of_their_own(rng):
    train, test = blobs(rng, 90), blobs(rng, 60)
    encoders = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        encoders.append(
            keras.Sequential(
                [
                    keras.Input((3,)),
                    keras.layers.Dense(4),
                    keras.layers.BatchNormalization(),
                    keras.layers.ReLU(),
                ]
            )
        )
    report = evaluate.combine(encoders, train, test, {"trees": AdaBoostClassifier(n_estimators=3)})
    assert list(report)[-2:] == ["average of weights", "trees"]
    averaged = evaluate.average_weights(encoders, data=train)
    expected = evaluate.linear_probe(averaged, train, test)
    assert report["average of weights"]["accuracy"] == pytest.approx(expected)
    alone = evaluate.combine(encoders[:1], train, test, {})
    assert list(alone) == ["model 1", "mean of models"]
    assert alone["model 1"] == pytest.approx(report["model 1"])


def test_data_in_another_order_is_refused(rng):
    train, test = blobs(rng, 60), blobs(rng, 60)
    data = tf.data.Dataset.from_tensor_slices(test)
    encoders = [evaluate.raw_pixels, evaluate.raw_pixels]
    with pytest.raises(ValueError, match=r"`test` must have the same order"):
        evaluate.combine(encoders, train, data.shuffle(60, seed=0).batch(20), {})
    fixed = data.shuffle(60, seed=0, reshuffle_each_iteration=False).batch(20)
    report = evaluate.combine(encoders, train, fixed, {})
    assert report["mixture of experts"] == pytest.approx(report["model 1"])


def test_bad_input_is_refused(rng):
    data = blobs(rng, 30)

    def run(encoders=(evaluate.raw_pixels,), train=data, test=data, **arguments):
        return evaluate.combine(encoders, train, test, **arguments)

    for encoders in ([], evaluate.raw_pixels):
        with pytest.raises(ValueError, match="`encoders` must be a list of one encoder or more"):
            run(encoders)
    with pytest.raises(TypeError, match=r"`encoder` must be a keras\.Model"):
        run([3])
    with pytest.raises(TypeError, match=r"`estimators` must be classifiers.*for 'svm'"):
        run(estimators={"svm": LinearSVC()})
    with pytest.raises(ValueError, match=r"name of another row\. Received: 'model 1'"):
        run(estimators={"model 1": LogisticRegression()})
    with pytest.raises(ValueError, match=r"classes of `train` only.*Received: \['dog'\]"):
        run(test=(data[0], np.full(30, "dog")))
    with pytest.raises(ValueError, match="at least two classes"):
        run(train=(data[0], np.full(30, "ant")))
    with pytest.raises(ValueError, match="must be finite"):
        run(train=(data[0] * np.nan, data[1]))
