"""Distances of generated examples against SciPy, scikit-learn and loops over all pairs."""

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from sklearn.metrics.pairwise import polynomial_kernel

from keras_ssl import evaluate
from keras_ssl.evaluate import sample_quality

MEASURES = (evaluate.frechet_distance, evaluate.kernel_distance, evaluate.precision_recall)


@pytest.fixture
def sets(rng):
    """Two sets with means, scales and correlations of their own."""
    real = rng.normal(size=(90, 6)) @ rng.normal(size=(6, 6)) + 5
    generated = rng.normal(size=(70, 6)) @ rng.normal(size=(6, 6)) + 4
    return real.astype("float32"), generated.astype("float32")


def test_frechet_distance_equals_scipy(sets):
    real, generated = (one.astype("float64") for one in sets)
    covariances = [np.cov(one, rowvar=False) for one in (real, generated)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    shift = real.mean(axis=0) - generated.mean(axis=0)
    expected = shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    found = evaluate.frechet_distance(evaluate.raw_pixels, *sets, batch_size=32)
    assert found == pytest.approx(expected, rel=1e-9)
    # batches of other sizes, labels, and a layer as encoder
    datasets = [tf.data.Dataset.from_tensor_slices((one, one[:, 0])).batch(11) for one in sets]
    again = evaluate.frechet_distance(keras.layers.Identity(), *datasets)
    assert again == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_more_dimensions_than_examples(rng):
    x = rng.normal(size=(5, 40))
    shift = rng.normal(size=40)
    found = evaluate.frechet_distance(evaluate.raw_pixels, x, x + shift)
    assert found == pytest.approx(shift @ shift, rel=1e-4)
    assert evaluate.frechet_distance(evaluate.raw_pixels, x, x) == pytest.approx(0, abs=1e-5)


def test_kernel_distance_equals_the_formula(sets, monkeypatch):
    def kernel(x, y):
        return polynomial_kernel(x.astype("float64"), y.astype("float64"), 3, 1 / 6, 1)

    real, generated = sets
    within = [kernel(one, one)[~np.eye(len(one), dtype=bool)].mean() for one in sets]
    expected = sum(within) - 2 * kernel(real, generated).mean()
    arguments = evaluate.raw_pixels, real, generated
    assert evaluate.kernel_distance(*arguments) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(sample_quality, "_VALUES_AT_ONCE", 500)
    assert evaluate.kernel_distance(*arguments) == pytest.approx(expected, rel=1e-9)


def test_precision_and_recall_equal_loops_over_all_pairs(sets):
    def share(x, reference):
        radii = [np.sort(np.linalg.norm(reference - one, axis=1))[4] for one in reference]
        near = [np.any(np.linalg.norm(reference - one, axis=1) <= radii) for one in x]
        return np.mean(near)

    real, generated = (one.astype("float64") for one in sets)
    expected = share(generated, real), share(real, generated)
    assert min(expected) > 0 and max(expected) < 1
    assert evaluate.precision_recall(evaluate.raw_pixels, *sets, k=4) == expected
    # half of the data, without the other half
    real = np.concatenate([real, real + 1000])
    precision, recall = evaluate.precision_recall(evaluate.raw_pixels, real, real[:90])
    assert precision == 1 and recall == 0.5


def test_bad_input_is_refused(sets):
    real, generated = sets
    broken = generated.copy()
    broken[3, 1] = np.nan
    for measure in MEASURES:
        for x, y, message in (
            (real, generated[:1], r"`generated` must hold at least \d examples. Received: 1"),
            (real[:1], generated, r"`real` must hold at least \d examples. Received: 1"),
            (real, generated[:, :5], "of one width.* 6 and 5 dimensions"),
            (real, broken, "`generated` must be finite"),
        ):
            with pytest.raises(ValueError, match=message):
                measure(evaluate.raw_pixels, x, y)
        with pytest.raises(TypeError, match="`encoder`"):
            measure("inception", real, generated)
    with pytest.raises(ValueError, match=r"at least 4 examples. Received: 3"):
        evaluate.precision_recall(evaluate.raw_pixels, real[:3], generated)
    with pytest.raises(ValueError, match="`k` must be a positive integer"):
        evaluate.precision_recall(evaluate.raw_pixels, real, generated, k=0)
