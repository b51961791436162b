import itertools

import numpy as np
import pytest
from scipy import stats

from keras_ssl.augment.graph import RandomEdgeDrop
from tests.augment.graph.graphs_for_tests import arrays, ring_of, single


def dropped(layer, a, count):
    """Return which edges are dropped, for a batch of `count` graphs."""
    x = np.ones((count, len(a), 1), "float32")
    out = arrays(layer((x, np.stack([a] * count))))[1]
    assert np.all((out == 0) | (out == a))
    return out[:, a != 0] == 0


@pytest.mark.parametrize("symmetric", [True, False])
def test_edges_are_dropped_at_the_given_rate(symmetric):
    gone = dropped(RandomEdgeDrop(0.3, symmetric, seed=1), ring_of(7), 3000)
    for count in gone.sum(axis=0):
        assert stats.binomtest(int(count), 3000, 0.3).pvalue > 1e-5


@pytest.mark.parametrize("nodes", [3, 4])
def test_edges_of_a_ring_are_dropped_independently(nodes):
    """All outcomes are equally likely at a rate of one half, on even and odd rings."""
    a = ring_of(nodes)
    count = 4000
    x = np.ones((count, nodes, 1), "float32")
    out = arrays(RandomEdgeDrop(0.5, seed=2)((x, np.stack([a] * count))))[1]
    gone = np.stack([out[:, node, node - 1] == 0 for node in range(nodes)], axis=1)
    outcomes = [(gone == outcome).all(axis=1).sum() for outcome in bits(nodes)]
    assert stats.chisquare(outcomes).pvalue > 1e-5


def bits(count):
    return [np.array(outcome) for outcome in itertools.product([False, True], repeat=count)]


def test_directions_are_dropped_independently_if_not_symmetric():
    a = np.array([[0, 1], [2, 0]], "float32")
    gone = dropped(RandomEdgeDrop(0.5, symmetric=False, seed=2), a, 4000)
    outcomes = [(gone == outcome).all(axis=1).sum() for outcome in bits(2)]
    assert stats.chisquare(outcomes).pvalue > 1e-5


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_an_undirected_graph_stays_undirected(form):
    for seed in range(5):
        a = arrays(RandomEdgeDrop(0.4, seed=seed)(single(form)))[1]
        np.testing.assert_array_equal(a != 0, (a != 0).T)
    directed = [
        arrays(RandomEdgeDrop(0.4, symmetric=False, seed=seed)(single(form)))[1]
        for seed in range(5)
    ]
    assert any(np.any((a != 0) != (a != 0).T) for a in directed)


def test_self_loops_are_dropped_independently():
    gone = dropped(RandomEdgeDrop(0.5, seed=3), np.eye(2, dtype="float32"), 4000)
    outcomes = [(gone == outcome).all(axis=1).sum() for outcome in bits(2)]
    assert stats.chisquare(outcomes).pvalue > 1e-5


def test_graphs_of_a_batch_lose_different_edges():
    gone = dropped(RandomEdgeDrop(0.5, seed=1), ring_of(8), 16)
    assert len({tuple(one) for one in gone}) == 16


@pytest.mark.parametrize(("rate", "kept"), [(0, True), (1, False)])
def test_rates_of_0_and_1(rate, kept):
    graph = single()
    a = arrays(RandomEdgeDrop(rate)(graph))[1]
    np.testing.assert_array_equal(a, arrays(graph)[1] * kept)


def test_an_edge_list_without_weights_gets_weights():
    edges = {"senders": np.array([0, 1, 2]), "receivers": np.array([1, 0, 2])}
    _, a = RandomEdgeDrop(0.5, seed=0)((np.ones((3, 1)), edges))
    assert set(np.unique(a["weights"])) <= {0.0, 1.0}
    assert "weights" not in edges


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_bad_rates_raise(rate):
    with pytest.raises(ValueError, match=r"`rate`.*Received"):
        RandomEdgeDrop(rate)
