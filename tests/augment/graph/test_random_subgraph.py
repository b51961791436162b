from collections import Counter

import networkx
import numpy as np
import pytest
from scipy import stats

from keras_ssl.augment.graph import RandomSubgraph
from tests.augment.graph.graphs_for_tests import SIZES, arrays, batch, disjoint, ring_of, single
from tests.augment.graph.test_random_node_drop import assert_removed


def growth(a, size):
    """The probability of each set of nodes when they are added one at a time."""
    chances = Counter({frozenset([node]): 1 / len(a) for node in range(len(a))})
    for _ in range(size - 1):
        grown = Counter()
        for nodes, chance in chances.items():
            near = {v for u in nodes for v in np.flatnonzero(a[:, u])} - nodes
            for node in near:
                grown[nodes | {node}] += chance / len(near)
            if not near:
                grown[nodes] += chance
        chances = grown
    return chances


@pytest.mark.parametrize(
    "edges",
    [
        [(0, 1), (1, 2), (2, 3), (3, 4)],  # a path
        [(0, 1), (0, 2), (0, 3), (3, 4), (4, 2)],  # a ring with a tail
        [(0, 1), (1, 2), (3, 4)],  # two components, one of them too small
    ],
)
@pytest.mark.parametrize("size", [2, 3])
def test_has_the_distribution_of_adding_one_node_at_a_time(edges, size):
    a = networkx.to_numpy_array(networkx.Graph(edges), nodelist=range(5)).astype("float32")
    count = 3000
    x = np.ones((count, 5, 1), "float32")
    out = RandomSubgraph(size / 5, seed=1)((x, np.stack([a] * count)))
    found = Counter(frozenset(np.flatnonzero(one)) for one in arrays(out)[0][..., 0])
    expected = growth(a, size)
    assert set(found) == set(expected)
    sets = list(expected)
    wanted = np.array([expected[one] for one in sets]) * count
    assert stats.chisquare([found[one] for one in sets], wanted).pvalue > 1e-5


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_a_connected_share_is_kept(form):
    graph = single(form)
    for seed in range(5):
        out = RandomSubgraph(0.5, seed=seed)(graph)
        kept = arrays(out)[0].any(axis=1)
        assert kept.sum() == 5  # 4.5 rounded up
        assert_removed(graph, out, kept)
        inner = arrays(out)[1][np.ix_(kept, kept)]
        assert networkx.is_connected(networkx.from_numpy_array(inner))


def test_every_graph_of_a_batch_and_of_a_union_keeps_its_share():
    for graph in (batch(), disjoint(), disjoint("sparse")):
        out = RandomSubgraph(0.6, seed=2)(graph)
        kept, before = arrays(out)[2], arrays(graph)[2]
        if kept.dtype == bool:
            counts = kept.sum(axis=1)
            assert_removed(graph, out, kept | ~before)
        else:
            counts = np.array([(kept == number).sum() for number in range(3)])
            assert_removed(graph, out, (kept >= 0) | (before < 0))
        assert counts.tolist() == [int(np.ceil(0.6 * size)) for size in SIZES]


def test_a_long_path_is_reached_to_its_end():
    a = np.eye(200, k=1) + np.eye(200, k=-1)
    x, _ = RandomSubgraph(1.0)((np.ones((200, 1)), a))
    assert np.asarray(x).all()


def test_an_isolated_node_stays_alone():
    x, _ = RandomSubgraph(1.0, seed=0)((np.ones((4, 1)), np.zeros((4, 4))))
    assert np.asarray(x).sum() == 1


def test_weights_do_not_matter():
    a = ring_of(9)
    for weights in (a, 100 * a, (a != 0).astype("float32"), -a):
        x = arrays(RandomSubgraph(0.4, seed=3)((np.ones((9, 1)), weights)))[0]
        np.testing.assert_array_equal(
            x, arrays(RandomSubgraph(0.4, seed=3)((np.ones((9, 1)), a)))[0]
        )


def test_bad_arguments_raise():
    for share in (-0.1, 0, 1.5):
        with pytest.raises(ValueError, match=r"`share`.*Received"):
            RandomSubgraph(share)
    with pytest.raises(ValueError, match=r"`graphs`.*Received"):
        RandomSubgraph(0.5, graphs=0)
