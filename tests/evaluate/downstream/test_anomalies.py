"""Scores of anomalies beside scikit-learn and formulas."""

import numpy as np
import pytest
from sklearn.covariance import EmpiricalCovariance, LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from keras_ssl import evaluate


@pytest.mark.parametrize("metric", ["l2", "cosine"])
@pytest.mark.parametrize("k", [1, 5])
def test_distances_of_neighbours_equal_scikit_learn(rng, metric, k):
    train, test = rng.normal(size=(150, 6)) + 1, rng.normal(size=(40, 6))
    neighbors = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(train)
    expected = neighbors.kneighbors(test)[0].mean(axis=1)
    scores = evaluate.knn_anomaly_scores(train, test, k, metric)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    among_each_other = evaluate.knn_anomaly_scores(train, k=k, metric=metric)
    expected = neighbors.kneighbors()[0].mean(axis=1)  # without itself
    np.testing.assert_allclose(among_each_other, expected, atol=1e-5)


@pytest.mark.parametrize(("center", "spread"), [(100, 0.1), (1000, 1), (1000, 0.1)])
def test_features_far_from_zero_keep_their_digits(rng, center, spread):
    x = (center + spread * rng.normal(size=(200, 16))).astype("float32")
    exact = np.linalg.norm(x[:, None].astype("float64") - x, axis=2)
    expected = np.sort(exact, axis=1)[:, 5]  # the nearest is the example itself
    found = evaluate.SearchIndex(16, metric="l2")
    found.add(x)
    distances, _ = found.query(x, 6)
    np.testing.assert_allclose(distances[:, 5], expected, rtol=1e-5)


def test_equal_features_are_no_outliers():
    train = np.concatenate([np.ones((9, 3)), np.full((1, 3), 5.0)])
    scores = evaluate.knn_anomaly_scores(train, k=3)
    np.testing.assert_allclose(scores, [0.0] * 9 + [4 * 3**0.5], rtol=1e-6)


@pytest.mark.parametrize("covariance", [None, EmpiricalCovariance()])
def test_mahalanobis_distances_equal_a_formula(rng, covariance):
    train = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 4)) + 3
    test = 3 * rng.normal(size=(20, 4))
    estimated = (LedoitWolf() if covariance is None else EmpiricalCovariance()).fit(train)
    shifted = test - train.mean(axis=0)
    expected = np.sqrt(np.sum(shifted @ np.linalg.inv(estimated.covariance_) * shifted, axis=1))
    scores = evaluate.mahalanobis_anomaly_scores(train, test, covariance)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    assert covariance is None or not hasattr(covariance, "covariance_")
    own = evaluate.mahalanobis_anomaly_scores(train, covariance=covariance)
    np.testing.assert_allclose(own, evaluate.mahalanobis_anomaly_scores(train, train, covariance))


@pytest.mark.parametrize(
    "detector",
    [
        IsolationForest(n_estimators=10, random_state=0),
        make_pipeline(StandardScaler(), OneClassSVM()),
        LocalOutlierFactor(novelty=True),
    ],
)
def test_detectors_of_scikit_learn(rng, detector):
    train, test = rng.normal(size=(100, 3)), np.array([[0.1, 0, 0], [7.0, 7, 7]])
    scores = evaluate.detector_anomaly_scores(detector, train, test)
    assert scores.shape == (2,) and scores[1] > scores[0]
    fitted = detector.fit(train.astype("float32").astype("float64"))
    np.testing.assert_allclose(scores, -fitted.score_samples(test))


def test_metrics_equal_counts(rng):
    is_anomaly = rng.random(300) < 0.3
    scores = np.round(rng.normal(size=300) + is_anomaly, 1)  # with ties
    found = evaluate.anomaly_metrics(scores, is_anomaly.astype(int)[:, None])
    anomalies, normal = scores[is_anomaly], scores[~is_anomaly]
    pairs = np.sign(anomalies[:, None] - normal) / 2 + 0.5
    assert found["auroc"] == pytest.approx(pairs.mean())
    # the largest threshold at which 95 % of the anomalies are found
    enough = [t for t in np.unique(scores) if np.mean(anomalies >= t) >= 0.95]
    assert found["fpr_at_95_tpr"] == pytest.approx(np.mean(normal >= max(enough)))


def test_report_of_each_class(rng):
    labels = rng.integers(3, size=300)
    x = 3 * np.eye(3)[labels] + rng.normal(size=(300, 3))
    names = np.array(["ant", "bee", "cat"])[labels]
    names_of_test = names[200:]
    detectors = {
        "knn": evaluate.knn_anomaly_scores,
        "first": lambda train, features: -features[:, 0],
        "forest": IsolationForest(n_estimators=10, random_state=0),
    }
    data = (x[:200], names[:200]), (x[200:], names_of_test)
    report = evaluate.anomaly_report(evaluate.raw_pixels, *data, detectors=detectors)
    assert list(report) == list(detectors)
    expected = np.mean(
        [roc_auc_score(names_of_test != one, -x[200:, 0]) for one in np.unique(names)]
    )
    assert report["first"]["auroc"] == pytest.approx(expected)
    assert report["knn"]["auroc"] > 0.85 > report["knn"]["fpr_at_95_tpr"]
    ant = evaluate.anomaly_report(evaluate.raw_pixels, *data, normal="ant", detectors=detectors)
    assert ant["first"]["auroc"] == pytest.approx(
        roc_auc_score(names_of_test != "ant", -x[200:, 0])
    )
    assert set(evaluate.anomaly_report(evaluate.raw_pixels, *data)) == {"knn", "mahalanobis"}


def test_bad_features(rng):
    x = rng.normal(size=(6, 3))
    for function in (
        evaluate.knn_anomaly_scores,
        evaluate.mahalanobis_anomaly_scores,
        lambda *sets: evaluate.detector_anomaly_scores(OneClassSVM(), *sets),
    ):
        with pytest.raises(ValueError, match="`train_features` must be finite"):
            function(x * np.nan, x)
        with pytest.raises(ValueError, match="`features` must be finite"):
            function(x, x * np.nan)
        with pytest.raises(ValueError, match="same number of dimensions"):
            function(x, x[:, :2])
    with pytest.raises(ValueError, match="at least 7 examples, for k=6"):
        evaluate.knn_anomaly_scores(x, k=6)
    with pytest.raises(ValueError, match="`metric` must be"):
        evaluate.knn_anomaly_scores(x, x, metric="l1")
    with pytest.raises(ValueError, match="rank 2 of 3, from 3 examples"):
        evaluate.mahalanobis_anomaly_scores(x[:3], x, EmpiricalCovariance())
    with pytest.raises(ValueError, match="must not be singular"):
        evaluate.mahalanobis_anomaly_scores(np.ones((9, 3)), x)
    with pytest.raises(TypeError, match="`covariance` must be an estimator"):
        evaluate.mahalanobis_anomaly_scores(x, x, "empirical")
    for detector in (LocalOutlierFactor(), OneClassSVM, "forest"):
        with pytest.raises(TypeError, match="`detector` must be an estimator"):
            evaluate.detector_anomaly_scores(detector, x, x)


def test_one_class_and_bad_labels(rng):
    x, y = rng.normal(size=(20, 3)), np.repeat([0, 1], 10)
    for labels in (np.zeros(20), np.ones(20, bool)):
        with pytest.raises(ValueError, match="normal examples and anomalies"):
            evaluate.anomaly_metrics(x[:, 0], labels)
    with pytest.raises(ValueError, match="booleans, or 0 and 1"):
        evaluate.anomaly_metrics(x[:, 0], 2 * y)
    with pytest.raises(ValueError, match="equally many"):
        evaluate.anomaly_metrics(x[:, 0], y[:5])
    with pytest.raises(ValueError, match="`scores` must be finite"):
        evaluate.anomaly_metrics(x[:, 0] * np.nan, y)
    with pytest.raises(ValueError, match=r"the classes \[0\]"):
        evaluate.anomaly_report(evaluate.raw_pixels, (x, y), (x, 0 * y))
    with pytest.raises(ValueError, match=r"one of \[0, 1\]"):
        evaluate.anomaly_report(evaluate.raw_pixels, (x, y), (x, y), normal=2)
    with pytest.raises(TypeError, match="`detector` must be an estimator"):
        evaluate.anomaly_report(evaluate.raw_pixels, (x, y), (x, y), detectors={"svm": OneClassSVM})
    y[5:] = -1  # no label
    with pytest.raises(ValueError, match=r"normal class 0 and of others"):
        evaluate.anomaly_report(evaluate.raw_pixels, (x, y), (x, y), normal=0)
