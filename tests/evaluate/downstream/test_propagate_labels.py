"""Spreading of labels beside its closed form and scikit-learn."""

import warnings

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from keras_ssl import evaluate


def two_moons(rng, count=120):
    """Two half circles in each other, and which of them each point is on."""
    side = np.arange(count) % 2
    angle = np.pi * (rng.random(count) + side)
    points = np.stack([np.cos(angle) + side, np.sin(angle) + 0.4 * side], axis=1)
    return points + 0.05 * rng.normal(size=points.shape), side


def test_spreading_has_its_closed_form(rng):
    features, classes = rng.normal(size=(60, 2)), rng.integers(3, size=60)
    labels = np.where(np.arange(60) < 12, classes, -1)
    weights = rbf_kernel(features.astype("float32").astype("float64"), gamma=3.0)
    np.fill_diagonal(weights, 0)
    degrees = weights.sum(axis=1)
    normalized = weights / np.sqrt(degrees[:, None] * degrees)
    one_hot = (labels[:, None] == np.arange(3)).astype("float64")
    expected = np.linalg.solve(np.eye(60) - 0.6 * normalized, one_hot).argmax(axis=1)
    estimator = LabelSpreading(gamma=3.0, alpha=0.6, max_iter=1000, tol=1e-9)
    found = evaluate.propagate_labels(features, labels, estimator=estimator)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found)) == 3 and not hasattr(estimator, "classes_")


def test_labels_follow_the_shape_of_the_data(rng):
    features, classes = two_moons(rng)
    labels = np.full(len(classes), -1)
    for one in (0, 1):
        labels[np.flatnonzero(classes == one)[0]] = one
    # further from 0 in a third direction, cosines have the order of distances
    features = np.concatenate([features, np.full((len(features), 1), 10.0)], axis=1)
    found = evaluate.propagate_labels(features, labels, k=8)
    nearest = np.argmin(
        [np.linalg.norm(features - features[labels == one], axis=1) for one in (0, 1)], axis=0
    )
    least = np.mean(nearest == classes) + 0.05  # over eight seeds, 0.1 more and above
    assert np.mean(found == classes) > least
    others, expected = two_moons(rng)
    others = np.concatenate([others, np.full((len(others), 1), 10.0)], axis=1)
    predicted = evaluate.propagate_labels(features, labels, others, k=8)
    assert np.mean(predicted == expected) > least


def test_the_graph_of_neighbours_has_the_closed_form(rng):
    features, others = (rng.normal(size=(n, 3)).astype("float32") for n in (70, 30))
    labels = np.where(np.arange(70) < 20, rng.integers(3, size=70), -1)
    units, other_units = (
        one / np.linalg.norm(one, axis=1, keepdims=True)
        for one in (features.astype("float64"), others.astype("float64"))
    )
    cosines = units @ units.T
    np.fill_diagonal(cosines, -2)
    nearest = np.argsort(-cosines, axis=1)[:, :6]
    weights = np.zeros((70, 70))
    np.put_along_axis(weights, nearest, 1.0, axis=1)
    weights = np.maximum(weights, weights.T)
    degrees = weights.sum(axis=1)
    normalized = weights / np.sqrt(degrees[:, None] * degrees)
    one_hot = (labels[:, None] == np.arange(3)).astype("float64")
    spread = np.linalg.solve(np.eye(70) - 0.99 * normalized, one_hot)
    found = evaluate.propagate_labels(features, labels, k=6)
    assert np.mean(found == spread.argmax(axis=1)) > 0.97  # scikit-learn stops at 1e-3
    spread /= spread.sum(axis=1, keepdims=True)
    neighbours = np.argsort(-other_units @ units.T, axis=1)[:, :6]
    expected = spread[neighbours].sum(axis=1).argmax(axis=1)
    predicted = evaluate.propagate_labels(features, labels, others, k=6)
    assert np.mean(predicted == expected) > 0.97


@pytest.mark.parametrize(
    "estimator",
    [LabelPropagation(gamma=2.0), make_pipeline(StandardScaler(), LabelSpreading(gamma=1.0))],
)
def test_equals_scikit_learn(rng, estimator):
    features, others = rng.normal(size=(80, 4)) + 1, rng.normal(size=(20, 4)) + 1
    labels = rng.choice([-1, 3, 7], size=(80, 1), p=[0.6, 0.2, 0.2])
    others = others.astype("float16")
    found = evaluate.propagate_labels(features, labels, others, estimator=estimator)
    estimator.fit(features.astype("float32").astype("float64"), labels[:, 0])
    np.testing.assert_array_equal(found, estimator.predict(others.astype("float64")))


def test_examples_that_no_label_reaches_are_counted():
    angles = np.concatenate([np.linspace(0, 0.5, 6), np.linspace(2, 2.4, 5)])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = np.array([4, 4, 4, 9, 9, 9] + [-1] * 5)
    with pytest.warns(UserWarning, match="reaches 5 of 11 examples, which get class 4"):
        found = evaluate.propagate_labels(features, labels, k=3)
    assert found[:6].tolist() == [4, 4, 4, 9, 9, 9] and (found[6:] == 4).all()
    with pytest.warns(UserWarning, match="reaches 1 of 2 examples"):
        evaluate.propagate_labels(features, labels, features[[0, 8]], k=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate.propagate_labels(features, labels, features[[0, 5]], k=3)
        evaluate.propagate_labels(features, labels, k=100)  # all of them


def test_bad_input(rng):
    features, labels = rng.normal(size=(6, 3)), np.array([0, 1, -1, -1, -1, -1])
    with pytest.raises(ValueError, match="`features` must be finite"):
        evaluate.propagate_labels(features * np.nan, labels)
    with pytest.raises(ValueError, match=r"Received: 5 labels and 6 rows"):
        evaluate.propagate_labels(features, labels[:5])
    with pytest.raises(ValueError, match=r"at least two classes.*Received: the classes \[0\]"):
        evaluate.propagate_labels(features, np.minimum(labels, 0))
    with pytest.raises(ValueError, match=r"`features` and `others` must have the same number"):
        evaluate.propagate_labels(features, labels, features[:, :2])
    with pytest.raises(TypeError, match="must be integers"):
        evaluate.propagate_labels(features, labels.astype(str))
    for estimator in (IsolationForest(), LabelSpreading):
        with pytest.raises(TypeError, match="`estimator` must be a LabelSpreading"):
            evaluate.propagate_labels(features, labels, estimator=estimator)
