import numpy as np
import pytest
from scipy import stats

from keras_ssl.augment.graph import RandomFeatureMask
from tests.augment.graph.graphs_for_tests import arrays, batch, disjoint, single


def masked(layer, graph):
    """Return which features of which nodes are 0, and check that others did not change."""
    x, before = arrays(layer(graph))[0], arrays(graph)[0]
    assert np.all((x == 0) | (x == before))
    return x == 0


def test_features_are_masked_for_all_nodes_at_the_given_rate():
    count = 3000
    x, a = np.ones((count, 3, 5), "float32"), np.zeros((count, 3, 3), "float32")
    gone = masked(RandomFeatureMask(0.3, seed=1), (x, a))
    assert np.all(gone == gone[:, :1])
    for hits in gone[:, 0].sum(axis=0):
        assert stats.binomtest(int(hits), count, 0.3).pvalue > 1e-5
    both = int((gone[:, 0, 0] & gone[:, 0, 1]).sum())
    assert stats.binomtest(both, count, 0.09).pvalue > 1e-5


@pytest.mark.parametrize("is_sparse", [False, True])
def test_one_graph_has_one_mask(is_sparse):
    graph = single(is_sparse=is_sparse)
    before = arrays(graph)[0]
    gone = masked(RandomFeatureMask(0.5, seed=2), graph)
    for column, was in zip(gone.T, before.T, strict=True):
        assert column[was != 0].all() or not column[was != 0].any()
    assert 0 < gone[before != 0].mean() < 1


def test_graphs_of_a_union_have_their_own_masks():
    sizes, count = np.full(1000, 2), 1000
    i = np.repeat(np.arange(count), sizes)
    x = np.ones((len(i), 4), "float32")
    loop = {"senders": np.zeros(1, "int32"), "receivers": np.zeros(1, "int32")}
    out, _, _ = RandomFeatureMask(0.3, seed=3)((x, loop, i))
    gone = (np.asarray(out) == 0).reshape(count, 2, 4)
    np.testing.assert_array_equal(gone[:, 0], gone[:, 1])
    for hits in gone[:, 0].sum(axis=0):
        assert stats.binomtest(int(hits), count, 0.3).pvalue > 1e-5
    # masks of consecutive graphs are independent
    both = int((gone[1:, 0] & gone[:-1, 0]).sum())
    assert stats.binomtest(both, 4 * (count - 1), 0.09).pvalue > 1e-5


def test_edges_and_masks_do_not_change():
    for graph in (batch(), disjoint()):
        out = arrays(RandomFeatureMask(0.5, seed=1)(graph))
        for one, other in zip(out[1:], arrays(graph)[1:], strict=True):
            np.testing.assert_array_equal(one, other)


def test_rates_of_0_and_1():
    graph = single()
    np.testing.assert_array_equal(arrays(RandomFeatureMask(0)(graph))[0], arrays(graph)[0])
    assert not arrays(RandomFeatureMask(1)(graph))[0].any()
    with pytest.raises(ValueError, match=r"`rate`.*Received"):
        RandomFeatureMask(1.5)
