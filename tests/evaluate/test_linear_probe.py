import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

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
