import numpy as np
import pytest
from scipy import stats

from keras_ssl.augment.graph import RandomNodeDrop
from keras_ssl.layers.graph import GCNConv, GraphSequential, MeanPool
from tests.augment.graph.graphs_for_tests import SIZES, arrays, batch, disjoint, ring_of, single


def assert_removed(graph, out, kept):
    """Check that removed nodes have no features and edges, and others did not change."""
    (x, a), (x_, a_) = arrays(graph)[:2], arrays(out)[:2]
    np.testing.assert_array_equal(x_, x * kept[..., None])
    np.testing.assert_array_equal(a_, a * kept[..., None] * kept[..., None, :])


@pytest.mark.parametrize(("rate", "count"), [(0.2, 1), (0.34, 3), (0.9, 8), (0, 0), (0.99, 8)])
@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_drops_a_share_rounded_down(form, rate, count):
    graph = single(form)
    out = RandomNodeDrop(rate, seed=1)(graph)
    kept = arrays(out)[0].any(axis=1)
    assert (~kept).sum() == count
    assert_removed(graph, out, kept)


def test_every_graph_of_a_batch_loses_its_share():
    graph = batch()
    out = RandomNodeDrop(0.4, seed=1)(graph)
    kept = arrays(out)[2]
    assert kept.sum(axis=1).tolist() == [size - int(0.4 * size) for size in SIZES]
    assert_removed(graph, out, kept | ~arrays(graph)[2])


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_every_graph_of_a_union_loses_its_share(form):
    graph = disjoint(form)
    out = RandomNodeDrop(0.4, seed=1)(graph)
    i, before = arrays(out)[2], arrays(graph)[2]
    assert [int((i == number).sum()) for number in range(3)] == [3, 2, 3]
    assert np.all((i == before) | (i == -1))
    assert_removed(graph, out, (i >= 0) | (before < 0))


def test_all_nodes_are_equally_likely_to_be_dropped():
    count = 3000
    x = np.ones((count, 5, 1), "float32")
    out = arrays(RandomNodeDrop(0.4, seed=1)((x, np.stack([ring_of(5)] * count))))
    gone = out[0][..., 0] == 0
    assert np.all(gone.sum(axis=1) == 2)
    for hits in gone.sum(axis=0):
        assert stats.binomtest(int(hits), count, 0.4).pvalue > 1e-5


def test_pooling_ignores_dropped_nodes():
    network = GraphSequential([GCNConv(4, normalize=True), MeanPool()])
    for graph in (batch(), disjoint()):
        x, a, _ = arrays(graph)
        out = RandomNodeDrop(0.4, seed=1)(graph)
        pooled = np.asarray(network(out))
        kept = arrays(out)[2]
        for number in range(3):
            if kept.ndim == 2:
                rows, features, matrix = kept[number], x[number], a[number]
            else:
                rows, features, matrix = kept == number, x, a
            expected = network([features[rows], matrix[np.ix_(rows, rows)]])
            np.testing.assert_allclose(pooled[number], expected[0], rtol=1e-5, atol=1e-6)


def test_a_graph_of_one_node_keeps_it():
    x, _ = RandomNodeDrop(0.9)((np.ones((1, 2)), np.zeros((1, 1))))
    assert np.asarray(x).all()


def test_bad_arguments_raise():
    for rate in (-0.1, 1, 1.5):
        with pytest.raises(ValueError, match=r"`rate`.*Received"):
            RandomNodeDrop(rate)
    with pytest.raises(ValueError, match=r"`graphs`.*Received"):
        RandomNodeDrop(0.5, graphs=0)
    x = np.ones((2, 9, 3), "float32")
    with pytest.raises(ValueError, match="dense adjacency"):
        RandomNodeDrop(0.5)((x, single("list")[1]))
