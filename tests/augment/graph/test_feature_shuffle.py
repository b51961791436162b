import itertools

import numpy as np
import pytest
from scipy import stats

from keras_ssl.augment.graph import FeatureShuffle
from tests.augment.graph.graphs_for_tests import SIZES, arrays, batch, disjoint, mixed, single


def assert_rows_are_permuted(x, before):
    np.testing.assert_array_equal(np.sort(x, axis=0), np.sort(before, axis=0))
    assert {tuple(row) for row in x} == {tuple(row) for row in before}


@pytest.mark.parametrize("is_sparse", [False, True])
def test_features_are_permuted(is_sparse):
    graph = single(is_sparse=is_sparse)
    out = FeatureShuffle(seed=1)(graph)
    x, before = arrays(out)[0], arrays(graph)[0]
    assert_rows_are_permuted(x, before)
    assert np.any(x != before)
    np.testing.assert_array_equal(arrays(out)[1], arrays(graph)[1])
    if is_sparse and hasattr(out[0], "indices") and hasattr(out[0], "dense_shape"):
        order = np.lexsort(np.asarray(out[0].indices).T[::-1])
        np.testing.assert_array_equal(order, np.arange(len(order)))


def test_features_stay_within_their_graph():
    for x, before, mask in zip(
        arrays(FeatureShuffle(seed=1)(batch()))[0], *arrays(batch())[::2], strict=True
    ):
        assert_rows_are_permuted(x[mask], before[mask])
        np.testing.assert_array_equal(x[~mask], before[~mask])
    x, before = arrays(FeatureShuffle(seed=1)(disjoint()))[0], arrays(disjoint())[0]
    ends = np.cumsum(SIZES)
    for size, end in zip(SIZES, ends, strict=True):
        assert_rows_are_permuted(x[end - size : end], before[end - size : end])
    for x, before in zip(
        arrays(FeatureShuffle(seed=1)(mixed()))[0], arrays(mixed())[0], strict=True
    ):
        assert_rows_are_permuted(x, before)


def test_all_permutations_are_equally_likely():
    count = 3000
    x = np.tile(np.arange(3, dtype="float32")[:, None], (count, 1, 1))
    mask = np.array([[True, True, True, False]] * count)
    x = np.pad(x, ((0, 0), (0, 1), (0, 0)), constant_values=9)
    out = arrays(FeatureShuffle(seed=1)((x, np.zeros((count, 4, 4)), mask)))[0][..., 0]
    assert np.all(out[:, 3] == 9)
    outcomes = [
        np.all(out[:, :3] == order, axis=1).sum() for order in itertools.permutations(range(3))
    ]
    assert sum(outcomes) == count
    assert stats.chisquare(outcomes).pvalue > 1e-5
