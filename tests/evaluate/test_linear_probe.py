import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_ssl import evaluate
from keras_ssl.evaluate._subset import balanced_subset
from tests.evaluate.fashion import convolutional_encoder, fashion


def reference_accuracy(train, labels, test, test_labels, regularization):
    """The formula in the docstring, in float64, minimized by SciPy to high precision."""
    mean, std = train.mean(0), train.std(0)
    f, g = (train - mean) / std, (test - mean) / std
    classes, d = int(labels.max()) + 1, train.shape[1]
    targets = np.eye(classes)[labels]

    def objective(flat):
        W, b = flat[: classes * d].reshape(d, classes), flat[classes * d :]
        logp = log_softmax(f @ W + b, axis=1)
        error = (np.exp(logp) - targets) / len(f)
        value = -np.mean(np.sum(targets * logp, axis=1)) + regularization / 2 * np.sum(W**2)
        gradient = f.T @ error + regularization * W
        return value, np.concatenate([gradient.ravel(), error.sum(0)])

    best = minimize(
        objective,
        np.zeros(classes * (d + 1)),
        jac=True,
        method="L-BFGS-B",
        options={"gtol": 1e-8, "ftol": 0, "maxiter": 5000},
    ).x
    W, b = best[: classes * d].reshape(d, classes), best[classes * d :]
    return np.mean(np.argmax(g @ W + b, axis=1) == test_labels)


@pytest.mark.parametrize("regularization", [0.001, 0.01, 1.0])
def test_accuracy_equals_the_formula(regularization):
    (train, labels), (test, test_labels) = fashion("train[:1500]"), fashion("test[:1000]")
    # means of patches of 5x5 pixels
    train, test = (
        x[:, 1:26, 1:26, 0].reshape(-1, 5, 5, 5, 5).mean((2, 4)).reshape(-1, 25)
        for x in (train, test)
    )
    expected = reference_accuracy(train, labels, test, test_labels, regularization)
    accuracy = evaluate.linear_probe(
        evaluate.raw_pixels, (train, labels), (test, test_labels), regularization=regularization
    )
    # an example on a border may fall on either side
    assert accuracy == pytest.approx(expected, abs=0.003)
    assert isinstance(accuracy, float)


def test_the_scale_of_single_features_does_not_matter(rng):
    (x, y), (test_x, test_y) = fashion("train[:500]"), fashion("test[:500]")
    encoder = convolutional_encoder()
    f, g = (evaluate.extract_features(encoder, images)[0] for images in (x, test_x))
    scale, offset = 10.0 ** rng.uniform(-3, 3, size=32), rng.normal(size=32)
    plain = evaluate.linear_probe(evaluate.raw_pixels, (f, y), (g, test_y))
    moved = evaluate.linear_probe(
        evaluate.raw_pixels, (f * scale + offset * scale, y), (g * scale + offset * scale, test_y)
    )
    assert moved == pytest.approx(plain, abs=0.003)


def test_few_labels_fit_on_the_balanced_subsets():
    (x, y), test = fashion("train[:1000]"), fashion("test[:500]")
    encoder = convolutional_encoder()
    each = []
    for seed in (5, 6, 7):
        chosen = balanced_subset(y, 10, seed)
        each.append(evaluate.linear_probe(encoder, (x[chosen], y[chosen]), test))
    few = evaluate.linear_probe(encoder, (x, y), test, labels_per_class=10, trials=3, seed=5)
    assert few == pytest.approx(np.mean(each))
    assert few < evaluate.linear_probe(encoder, (x, y), test)
    again = evaluate.linear_probe(encoder, (x, y), test, labels_per_class=10, trials=3, seed=5)
    assert few == again


def test_encoder_is_not_changed():
    encoder = convolutional_encoder()
    before = encoder.get_weights()
    evaluate.linear_probe(encoder, fashion("train[:300]"), fashion("test[:100]"))
    for weight, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_warns_if_not_converged():
    with pytest.warns(UserWarning, match="converge"):
        evaluate.linear_probe(
            evaluate.raw_pixels, fashion("train[:300]"), fashion("test[:100]"), max_iterations=2
        )


X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"regularization": 0.0}, "`regularization` must be a positive number"),
        ({"trials": 0, "labels_per_class": 2}, "`trials` must be a positive integer"),
        ({"trials": 2}, "`trials` above 1 needs `labels_per_class`"),
        ({"max_iterations": 0}, "`max_iterations` must be a positive integer"),
        ({"labels_per_class": 0}, "`labels_per_class` must be a positive integer"),
        ({"labels_per_class": 11}, "`labels_per_class` must not exceed"),
        ({"train": (X, np.zeros(20, int))}, "at least two classes"),
        ({"train": (X * np.nan, Y)}, "`train` must be finite"),
        ({"train": X}, "`train` must carry labels"),
        ({"test": X}, "`test` must carry labels"),
    ],
)
def test_wrong_arguments(arguments, message):
    good = {"encoder": evaluate.raw_pixels, "train": (X, Y), "test": (X, Y)}
    with pytest.raises(ValueError, match=message):
        evaluate.linear_probe(**{**good, **arguments})


def with_missing_labels(rng, y):
    return np.where(rng.random(len(y)) < 0.3, -1, y)


def test_examples_without_a_label_are_left_out(rng):
    x = rng.normal(size=(80, 5))
    y = with_missing_labels(rng, (x[:, 0] + rng.normal(size=80) > 0).astype(int))
    train, test, labels = (x[:60], x[60:], y)
    known, known_test = labels[:60] >= 0, labels[60:] >= 0
    found = evaluate.linear_probe(
        evaluate.raw_pixels, (train, labels[:60, None]), (test, labels[60:, None])
    )
    expected = evaluate.linear_probe(
        evaluate.raw_pixels,
        (train[known], labels[:60][known]),
        (test[known_test], labels[60:][known_test]),
    )
    assert found == expected
    with pytest.raises(ValueError, match="`test` must hold examples with a label"):
        evaluate.linear_probe(evaluate.raw_pixels, (train, labels[:60]), (test, np.full(20, -1)))


@pytest.mark.parametrize("dtype", ["str", "bytes", "object"])
def test_labels_that_are_strings(rng, dtype):
    x = rng.normal(size=(60, 5))
    y = np.argmax(x[:, :3] + rng.normal(size=(60, 3)), axis=1)
    names = np.array(["cat", "a dog", "bird"])[y].astype({"bytes": "S"}.get(dtype, dtype))
    plain = evaluate.LinearProbe(evaluate.raw_pixels).fit((x, y))
    named = evaluate.LinearProbe(evaluate.raw_pixels).fit((x, names))
    assert plain.evaluate((x, y)) == pytest.approx(named.evaluate((x, names)))
    expected = np.array(["cat", "a dog", "bird"])[plain.predict(x)]
    np.testing.assert_array_equal(named.predict(x), expected)
    assert list(named.classes) == ["a dog", "bird", "cat"]


def imbalanced(rng, n=300):
    x = rng.normal(size=(n, 6))
    y = np.argmax(x[:, :4] + 0.7 * rng.normal(size=(n, 4)) + [1.5, 0, 0, -1], axis=1)
    return x, y


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 0.2, 1: 3.0, 2: 1.0, 3: 1.0}])
def test_metrics_and_class_weights_equal_those_of_scikit_learn(rng, class_weight):
    x, y = imbalanced(rng)
    pipeline = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=1 / (0.05 * len(y)), class_weight=class_weight, max_iter=1000),
    ).fit(x, y)
    probe = evaluate.LinearProbe(
        evaluate.raw_pixels, regularization=0.05, class_weight=class_weight
    ).fit((x, y))
    np.testing.assert_allclose(probe.scores(x), pipeline.decision_function(x), atol=1e-3)
    predicted = pipeline.predict(x)
    np.testing.assert_array_equal(probe.predict(x), predicted)
    expected = {
        "accuracy": metrics.accuracy_score(y, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, predicted),
        "macro_f1": metrics.f1_score(y, predicted, average="macro"),
        "top_2_accuracy": metrics.top_k_accuracy_score(y, pipeline.decision_function(x), k=2),
    }
    assert probe.evaluate((x, y), list(expected)) == pytest.approx(expected)
    one = evaluate.linear_probe(
        evaluate.raw_pixels,
        (x, y),
        (x, y),
        regularization=0.05,
        class_weight=class_weight,
        metric="balanced_accuracy",
    )
    assert one == pytest.approx(expected["balanced_accuracy"])


def test_two_classes_have_two_scores(rng):
    x = rng.normal(size=(40, 3))
    y = np.where(x[:, 0] > 0.3, 7, 4)
    probe = evaluate.LinearProbe(evaluate.raw_pixels).fit((x, y))
    assert probe.scores(x).shape == (40, 2)
    assert probe.evaluate((x, y), ["accuracy", "top_1_accuracy", "top_5_accuracy"]) == {
        "accuracy": 1.0,
        "top_1_accuracy": 1.0,
        "top_5_accuracy": 1.0,
    }


def test_multi_label_is_one_regression_per_label(rng):
    x = rng.normal(size=(120, 5))
    y = (x[:, :3] + rng.normal(size=(120, 3)) > [0, 0.5, -1]).astype(int)
    y[rng.random(y.shape) < 0.2] = -1
    probe = evaluate.LinearProbe(evaluate.raw_pixels, task="multi_label").fit((x, y))
    expected = np.zeros((120, 3))
    for j in range(3):
        rows = y[:, j] >= 0
        one = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (0.01 * rows.sum())))
        expected[:, j] = one.fit(x[rows], y[rows, j]).decision_function(x)
    np.testing.assert_allclose(probe.scores(x), expected, atol=1e-3)
    np.testing.assert_array_equal(probe.predict(x), expected > 0)
    names = ["accuracy", "mean_average_precision", "micro_f1", "macro_f1"]
    found = probe.evaluate((x, y), names)
    known = y >= 0
    assert found["accuracy"] == pytest.approx(np.mean((expected > 0)[known] == y[known]))
    precision = [
        metrics.average_precision_score(y[k, j], expected[k, j]) for j, k in enumerate(known.T)
    ]
    assert found["mean_average_precision"] == pytest.approx(np.mean(precision))
    f1 = metrics.f1_score(y[known], (expected > 0)[known])
    assert found["micro_f1"] == pytest.approx(f1)
    f1 = [metrics.f1_score(y[k, j], (expected > 0)[k, j]) for j, k in enumerate(known.T)]
    assert found["macro_f1"] == pytest.approx(np.mean(f1))


@pytest.mark.parametrize("targets", [1, 2])
def test_regression_equals_the_normal_equations(rng, targets):
    x = rng.normal(2, 3, size=(90, 4))
    y = x @ rng.normal(size=(4, targets)) + rng.normal(size=(90, targets)) + 5
    y[5] = np.nan
    labels = y[:, 0] if targets == 1 else y
    probe = evaluate.LinearProbe(evaluate.raw_pixels, task="regression", regularization=0.3).fit(
        (x, labels)
    )
    rows = np.isfinite(y).all(1)
    mean, std = x[rows].mean(0), x[rows].std(0)
    f, t = (x[rows] - mean) / std, y[rows] - y[rows].mean(0)
    weights = np.linalg.solve(f.T @ f / len(f) + 0.3 * np.eye(4), f.T @ t / len(f))
    expected = (x - mean) / std @ weights + y[rows].mean(0)
    np.testing.assert_allclose(probe.predict(x), expected, rtol=1e-4, atol=1e-4)
    error = expected[rows] - y[rows]
    found = probe.evaluate((x, labels), ["r2", "mean_squared_error", "mean_absolute_error"])
    assert found["r2"] == pytest.approx(np.mean(1 - error.var(0) / y[rows].var(0)), abs=1e-4)
    assert found["mean_squared_error"] == pytest.approx(np.mean(error**2), rel=1e-4)
    assert found["mean_absolute_error"] == pytest.approx(np.mean(np.abs(error)), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "y", "message"),
    [
        ({"task": "ranking"}, Y, "`task` must be one of"),
        ({"class_weight": "even"}, Y, "`class_weight` must be"),
        ({"task": "regression", "class_weight": "balanced"}, Y * 1.0, "`class_weight` must be"),
        ({"task": "multi_label"}, Y, r"shape \(examples, labels\)"),
        ({"task": "multi_label"}, np.stack([Y, Y * 2], 1), "must be 0 or 1.*2"),
        ({"task": "multi_label"}, np.stack([Y, Y * 0], 1), "label 1 is 0 in all 20"),
        ({"task": "regression"}, np.full(20, np.inf), "infinity"),
        ({"task": "regression"}, np.array(["a"] * 20), "must be numbers"),
    ],
)
def test_wrong_arguments_of_the_probe(arguments, y, message):
    with pytest.raises(ValueError, match=message):
        evaluate.LinearProbe(evaluate.raw_pixels, **arguments).fit((X, y))


@pytest.mark.parametrize("metric", ["top_0_accuracy", "r2", "auc"])
def test_unknown_metrics(metric):
    with pytest.raises(ValueError, match=f"`metric` must be one of.*'{metric}'"):
        evaluate.linear_probe(evaluate.raw_pixels, (X, Y), (X, Y), metric=metric)


def test_probe_must_be_fitted():
    with pytest.raises(ValueError, match="Call `fit` first"):
        evaluate.LinearProbe(evaluate.raw_pixels).predict(X)
