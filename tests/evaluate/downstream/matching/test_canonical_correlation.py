"""Canonical correlations beside SciPy's angles of subspaces, scikit-learn and eigenvalues."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.cross_decomposition import CCA, PLSSVD

from keras_ssl import evaluate


def related(rng, count=200, widths=(5, 3)):
    shared = rng.normal(size=(count, 2))
    return [
        np.hstack([shared, rng.normal(size=(count, width - 2))]) @ rng.normal(size=(width, width))
        + 0.3 * rng.normal(size=(count, width))
        + 4
        for width in widths
    ]


def test_correlations_are_cosines_of_the_angles_between_subspaces(rng):
    first, second = related(rng)
    analysis = evaluate.CanonicalCorrelation().fit(first, second)
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    expected = np.sort(np.cos(scipy.linalg.subspace_angles(a, b)))[::-1]
    np.testing.assert_allclose(analysis.correlations, expected, rtol=1e-9)
    for projection in (analysis.transform_first(first), analysis.transform_second(second)):
        np.testing.assert_allclose(np.cov(projection.T), np.eye(3), atol=1e-9)
        np.testing.assert_allclose(projection.mean(axis=0), 0, atol=1e-9)


def test_projections_equal_scikit_learn(rng):
    first, second = related(rng)
    analysis = evaluate.CanonicalCorrelation(components=2).fit(first[:150], second[:150])
    peer = CCA(2, max_iter=10_000, tol=1e-12).fit(first[:150], second[:150])
    ours = analysis.transform_first(first[150:]), analysis.transform_second(second[150:])
    for one, other in zip(ours, peer.transform(first[150:], second[150:]), strict=True):
        correlations = np.corrcoef(one.T, other.T)[:2, 2:]
        np.testing.assert_allclose(np.abs(np.diag(correlations)), 1, atol=1e-6)


@pytest.mark.parametrize("regularization", [0.1, 0.7])
@pytest.mark.parametrize("count", [200, 12])
def test_regularized_directions_solve_the_eigenvalue_problem(rng, regularization, count):
    first, second = related(rng, count, widths=(15, 4))
    analysis = evaluate.CanonicalCorrelation(3, regularization).fit(first, second)
    covariance = np.cov(first.T, second.T)
    blocks = [covariance[:15, :15], covariance[15:, 15:]]
    blocks = [
        (1 - regularization) * one + regularization * np.trace(one) / len(one) * np.eye(len(one))
        for one in blocks
    ]
    across = covariance[:15, 15:]
    within = scipy.linalg.block_diag(*blocks)
    zeros = [np.zeros_like(one) for one in blocks]
    between = np.block([[zeros[0], across], [across.T, zeros[1]]])
    values = scipy.linalg.eigh(between, within, eigvals_only=True)[::-1][:3]
    u, v = analysis.first_directions, analysis.second_directions
    np.testing.assert_allclose(u.T @ across @ v, np.diag(values), atol=1e-9)
    np.testing.assert_allclose(u.T @ blocks[0] @ u, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(v.T @ blocks[1] @ v, np.eye(3), atol=1e-9)


def test_the_other_end_of_regularization_is_partial_least_squares(rng):
    first, second = related(rng)
    u = evaluate.CanonicalCorrelation(2, 1.0).fit(first, second).first_directions
    expected = PLSSVD(2, scale=False).fit(first, second).x_weights_
    cosines = np.sum(u / np.linalg.norm(u, axis=0) * expected, axis=0)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-9)


def test_correlations_by_chance_are_told_by_other_pairs(rng):
    first, second = rng.normal(size=(2, 60, 20))
    analysis = evaluate.CanonicalCorrelation(5).fit(first[:45], second[:45])
    assert analysis.correlations.min() > 0.8
    others = analysis.correlations_of(first[45:], second[45:])
    a, b = analysis.transform_first(first[45:]), analysis.transform_second(second[45:])
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]
    np.testing.assert_allclose(others, expected, rtol=1e-9)
    assert np.abs(others).mean() < 0.6


def test_a_projection_that_does_not_vary_has_no_correlation(rng):
    first, second = related(rng)
    analysis = evaluate.CanonicalCorrelation().fit(first, second)
    np.testing.assert_array_equal(analysis.correlations_of(first[:4], second[[0] * 4]), 0)


@pytest.mark.parametrize(
    ("first", "second", "regularization", "message"),
    [
        (np.ones((9, 2)), np.ones((8, 2)), 0, "Received: 9 and 8 rows"),
        (np.full((9, 2), np.nan), np.ones((9, 2)), 0, "`first` must be finite"),
        (np.eye(5, 2), np.eye(5, 3), 0, "more pairs than dimensions.*5 pairs of 2 and 3"),
        (np.eye(9, 2)[:, [0, 0]], np.eye(9, 3), 0, "of `first` must not depend.*rank 1 of 2"),
        (np.eye(9, 2), np.ones((9, 3)), 0.5, "`second` must vary. Received: 9 equal rows"),
        (np.eye(1, 2), np.eye(1, 3), 0.5, "components.*1 pairs of 2 and 3"),
    ],
)
def test_pairs_that_tell_no_directions_are_rejected(first, second, regularization, message):
    analysis = evaluate.CanonicalCorrelation(regularization=regularization)
    with pytest.raises(ValueError, match=message):
        analysis.fit(first, second)
    with pytest.raises(ValueError, match="call `fit` first"):
        analysis.transform_second(np.eye(2))


def test_bad_arguments_are_rejected(rng):
    first, second = related(rng)
    with pytest.raises(ValueError, match="components=4, 200 pairs of 5 and 3 dimensions"):
        evaluate.CanonicalCorrelation(4).fit(first, second)
    with pytest.raises(ValueError, match="`components`"):
        evaluate.CanonicalCorrelation(0)
    with pytest.raises(TypeError, match="`components`"):
        evaluate.CanonicalCorrelation("all")
    with pytest.raises(ValueError, match="`regularization`"):
        evaluate.CanonicalCorrelation(regularization=1.5)
    analysis = evaluate.CanonicalCorrelation().fit(first, second)
    with pytest.raises(ValueError, match=r"`second` must have as many dimensions.*\(200, 5\)"):
        analysis.transform_second(first)
    with pytest.raises(ValueError, match="at least 2 pairs"):
        analysis.correlations_of(first[:1], second[:1])
