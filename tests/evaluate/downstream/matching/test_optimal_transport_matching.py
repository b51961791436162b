"""Matching by optimal transport: permutations that are known, and SciPy's assignments."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from keras_ssl import evaluate

pytest.importorskip("ot")


def asymmetric(rng, count=40):
    """A cloud without symmetries; the same turned into five dimensions in another order."""
    first = rng.gamma(1.0, size=(count, 3)) * [1.0, 2.0, 3.0]
    order = rng.permutation(count)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0][:3]
    return first, (7 * first @ turn + 3)[order], np.argsort(order)


@pytest.mark.filterwarnings("ignore:Sinkhorn did not converge")
@pytest.mark.parametrize("known", [0, 5])
@pytest.mark.parametrize("regularization", [0.0, 0.01])
def test_permutation_of_another_space_is_found(rng, known, regularization):
    first, second, places = asymmetric(rng, 30)
    pairs = np.stack([np.arange(known), places[:known]], axis=1) if known else None
    matching = evaluate.OptimalTransportMatching(regularization, iterations=50)
    matching.fit(first.astype("float32"), second, pairs)
    assert np.mean(matching.matches == places) > (0.99 if regularization == 0 else 0.9)
    for axis in (0, 1):
        np.testing.assert_allclose(matching.plan.sum(axis=axis), 1 / 30, rtol=1e-2)
    if regularization == 0:
        assert matching.cost < 1e-10
        np.testing.assert_allclose(matching.transform(first), second[places], rtol=1e-5)
        nearby = matching.transform(first[:9] + 1e-3)
        np.testing.assert_allclose(nearby, second[places][:9], rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_soft_plan_that_underflows_is_refused(rng):
    first, second, _ = asymmetric(rng, 20)
    with pytest.raises(ValueError, match=r"underflows.*regularization=1e-06"):
        evaluate.OptimalTransportMatching(1e-6, iterations=20).fit(first, second)


def test_parts_of_a_space_are_matched_without_pairs(rng):
    first, second, places = asymmetric(rng, 48)
    matching = evaluate.OptimalTransportMatching().fit(first, second[:44])
    kept = places < 44
    assert np.mean(matching.matches[kept] == places[kept]) > 0.7  # chance is 0.02
    np.testing.assert_allclose(matching.plan.sum(axis=1), 1 / 48)


def test_plan_of_one_space_is_the_best_assignment(rng):
    first, second = rng.normal(size=(2, 30, 3))
    matching = evaluate.OptimalTransportMatching(same_space=True).fit(first, second)
    costs = cdist(first, second, "sqeuclidean")
    rows, columns = linear_sum_assignment(costs)
    np.testing.assert_array_equal(matching.matches, columns)
    assert matching.cost == pytest.approx(costs[rows, columns].mean() / costs.mean())


def test_soft_plan_is_sinkhorns(rng):
    first, second = rng.normal(size=(12, 2)), rng.normal(size=(9, 2))
    matching = evaluate.OptimalTransportMatching(0.1, same_space=True).fit(first, second)
    costs = cdist(first, second, "sqeuclidean")
    scores, f, g = -costs / costs.mean() / 0.1, np.zeros((12, 1)), np.zeros((1, 9))
    for _ in range(500):
        f = -np.log(12) - logsumexp(scores + g, axis=1, keepdims=True)
        g = -np.log(9) - logsumexp(scores + f, axis=0, keepdims=True)
    np.testing.assert_allclose(matching.plan, np.exp(scores + f + g), atol=1e-8)
    expected = matching.plan @ second * 12
    np.testing.assert_allclose(matching.transform(first), expected, atol=1e-6)
    means = matching.transform(first, neighbors=12)
    np.testing.assert_allclose(means, np.tile(expected.mean(axis=0), (12, 1)), atol=1e-6)


def test_cost_without_pairs_is_the_sum_over_four_indices(rng):
    first, second = rng.normal(size=(7, 2)), rng.normal(size=(6, 3))
    matching = evaluate.OptimalTransportMatching().fit(first, second)
    d, e = cdist(first, first), cdist(second, second)
    d, e, plan = d / d.mean(), e / e.mean(), matching.plan
    gaps = (d[:, None, :, None] - e[None, :, None, :]) ** 2
    assert matching.cost == pytest.approx(np.einsum("ijkl,ij,kl", gaps, plan, plan), rel=1e-9)


@pytest.mark.parametrize(
    ("first", "pairs", "error", "message"),
    [
        (np.full((9, 2), np.nan), None, ValueError, "`first` must be finite"),
        (np.ones((1, 2)), None, ValueError, "`first` must hold at least 2.*Received: 1 rows"),
        (np.ones((9, 2)), None, ValueError, "not all equal"),
        (np.eye(9), [[0, 1]], ValueError, r"at least 2 pairs. Received: shape \(1, 2\)"),
        (np.eye(9), [0, 1, 2], ValueError, r"shape \(pairs, 2\)"),
        (np.eye(9), [[0.0, 1.0], [1.0, 2.0]], TypeError, "`pairs` must be integers"),
        (np.eye(9), [[0, 0], [1, 6]], ValueError, r"`second`, 0 to 5.*\[1, 6\]"),
        (np.eye(9), [[-1, 0], [1, 5]], ValueError, r"`first`, 0 to 8.*\[-1, 0\]"),
    ],
)
def test_bad_data_is_rejected(first, pairs, error, message):
    matching = evaluate.OptimalTransportMatching()
    with pytest.raises(error, match=message):
        matching.fit(first, np.eye(6, 2), pairs)
    with pytest.raises(ValueError, match="call `fit` first"):
        matching.transform(np.eye(2))


def test_bad_arguments_are_rejected(rng):
    with pytest.raises(ValueError, match="`regularization`"):
        evaluate.OptimalTransportMatching(-1.0)
    with pytest.raises(TypeError, match="`iterations`"):
        evaluate.OptimalTransportMatching(iterations=1.5)
    first, second = rng.normal(size=(8, 2)), rng.normal(size=(8, 3))
    same = evaluate.OptimalTransportMatching(same_space=True)
    with pytest.raises(ValueError, match=r"same number of dimensions.*\(8, 2\) and \(8, 3\)"):
        same.fit(first, second)
    with pytest.raises(ValueError, match="`pairs` tell how two spaces"):
        same.fit(first, first, [[0, 0], [1, 1]])
    matching = evaluate.OptimalTransportMatching().fit(first, second)
    with pytest.raises(ValueError, match=r"`neighbors` must be at most.*neighbors=9"):
        matching.transform(first, neighbors=9)
    with pytest.raises(ValueError, match="`first` must have as many dimensions"):
        matching.transform(second)


def test_without_pot(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ot", None)
    with pytest.raises(ImportError, match=r"keras-ssl\[ot\]"):
        evaluate.OptimalTransportMatching()
