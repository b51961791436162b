"""Rotations of one space into another: known ones, and SciPy's."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes

from keras_ssl import evaluate


def turned(rng, width):
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


@pytest.mark.parametrize("factor", [1.0, 3.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_known_rotation_is_found_from_one_pair_more_than_dimensions(rng, factor, dtype):
    first = rng.normal(size=(40, 5)) + 2
    rotation = turned(rng, 5)
    second = factor * first @ rotation + rng.normal(size=5)
    alignment = evaluate.ProcrustesAlignment(scale=factor != 1.0)
    alignment.fit(first[:6].astype(dtype), second[:6].astype(dtype))
    accuracy = {"rtol": 0, "atol": 1e-10 if dtype == "float64" else 1e-4}
    np.testing.assert_allclose(alignment.rotation, rotation, **accuracy)
    assert alignment.factor == pytest.approx(factor, rel=1e-5)
    np.testing.assert_allclose(alignment.transform(first[6:]), second[6:], **accuracy)
    np.testing.assert_allclose(alignment.inverse_transform(second[6:]), first[6:], **accuracy)


def test_equals_scipy(rng):
    first, second = rng.normal(size=(2, 30, 4))
    alignment = evaluate.ProcrustesAlignment(scale=True).fit(first, second)
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    np.testing.assert_allclose(alignment.rotation, orthogonal_procrustes(a, b)[0])
    # SciPy's disparity is that of spaces scaled to size 1
    error = np.sum((alignment.transform(first) - second) ** 2) / np.sum(b**2)
    assert error == pytest.approx(procrustes(second, first)[2], rel=1e-9)


def test_integers_are_features(rng):
    first = rng.integers(-5, 5, size=(20, 3))
    alignment = evaluate.ProcrustesAlignment().fit(first, first[:, [2, 0, 1]])
    np.testing.assert_array_equal(alignment.transform(first).round(9), first[:, [2, 0, 1]])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.ones((9, 2)), np.ones((8, 2)), "row i of one belongs.*Received: 9 and 8 rows"),
        (np.eye(9, 2), np.eye(9, 3), r"same number of dimensions.*\(9, 2\) and \(9, 3\)"),
        (np.full((9, 2), np.inf), np.ones((9, 2)), "`first` must be finite"),
        (np.ones((9, 2)), np.full((9, 2), np.nan), "`second` must be finite"),
        (np.eye(3), np.eye(3), "more pairs than dimensions.*Received: 3 pairs of 3 dimensions"),
        (np.eye(9, 2), np.ones((9, 2)), "`second` must vary"),
        (np.ones(9), np.ones(9), r"shape \(examples, dimensions\)"),
    ],
)
def test_pairs_that_tell_no_rotation_are_rejected(first, second, message):
    alignment = evaluate.ProcrustesAlignment()
    with pytest.raises(ValueError, match=message):
        alignment.fit(first, second)
    with pytest.raises(ValueError, match="call `fit` first"):
        alignment.transform(np.eye(2))


def test_features_of_another_width_are_rejected(rng):
    alignment = evaluate.ProcrustesAlignment().fit(*rng.normal(size=(2, 9, 3)))
    with pytest.raises(ValueError, match=r"`first` must have as many dimensions.*3.*\(4, 2\)"):
        alignment.transform(np.ones((4, 2)))
    with pytest.raises(ValueError, match="`second` must be finite"):
        alignment.inverse_transform(np.full((4, 3), np.nan))
