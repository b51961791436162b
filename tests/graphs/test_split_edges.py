"""Edge splits and negative edges."""

import keras
import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_ssl import graphs


def pairs_of(array):
    found = set(map(tuple, array.tolist()))
    assert len(found) == len(array)  # no duplicates
    assert all(i < j for i, j in found)
    return found


def edges_of(a):
    return pairs_of(np.argwhere(np.triu(a.toarray(), 1)))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(4, 25),
    density=st.floats(0.1, 0.6),
    percents=st.tuples(st.integers(0, 30), st.integers(0, 40)),
    seed=st.integers(0, 99),
)
def test_a_split_partitions_the_edges(n, density, percents, seed):
    graph = nx.gnp_random_graph(n, density, seed=seed)
    graph.add_edges_from([(0, 1), (2, 2)])
    whole = nx.to_scipy_sparse_array(graph).astype(float)
    m = graph.number_of_edges() - 1
    v, t = (percent * m // 100 for percent in percents)
    validation, test = (percent / 100 for percent in percents)
    if v + t > n * (n - 1) // 2 - m:
        with pytest.raises(ValueError, match="without an edge"):
            graphs.split_edges(graph, validation, test, seed)
        return
    split = graphs.split_edges(graph, validation, test, seed)
    parts = [edges_of(split.a), pairs_of(split.validation), pairs_of(split.test)]
    negatives = [pairs_of(split.validation_negatives), pairs_of(split.test_negatives)]
    assert [len(part) for part in parts + negatives] == [m - v - t, v, t, v, t]
    everything = set.union(*parts, *negatives)
    assert len(everything) == sum(map(len, parts + negatives))  # the parts are disjoint
    assert set.union(*parts) == {tuple(sorted(e)) for e in graph.edges if e[0] != e[1]}
    assert abs(split.a - split.a.T).nnz == 0 and not split.a.diagonal().any()
    kept = split.a.toarray() != 0
    np.testing.assert_array_equal(split.a.toarray()[kept], whole.toarray()[kept])


def test_split_sizes_equal_those_of_kipf_and_welling():
    # Cora's 5,278 undirected edges: 5 % and 10 %, rounded down
    graph = nx.gnm_random_graph(2708, 5278, seed=0)
    split = graphs.split_edges(graph, seed=1)
    assert len(split.validation) == 5278 // 20 and len(split.test) == 5278 // 10
    again, other = graphs.split_edges(graph, seed=1), graphs.split_edges(graph, seed=2)
    np.testing.assert_array_equal(split.test, again.test)
    np.testing.assert_array_equal(split.test_negatives, again.test_negatives)
    assert not np.array_equal(split.test, other.test)


def test_edges_keep_their_weights():
    a = np.zeros((12, 12))
    rows, columns = np.triu_indices(12, 4)
    a[rows, columns] = a[columns, rows] = np.arange(1, len(rows) + 1)
    split = graphs.split_edges(a, 0.2, 0.2, seed=0)
    kept = split.a.toarray() > 0
    np.testing.assert_array_equal(split.a.toarray()[kept], a[kept])


@pytest.mark.parametrize("directed", [False, True])
def test_negative_edges_are_uniform(directed):
    kind = nx.DiGraph if directed else nx.Graph
    graph = nx.gnp_random_graph(7, 0.3, seed=3, directed=directed).to_directed(as_view=False)
    graph = kind(graph)
    free = {
        (i, j)
        for i in range(7)
        for j in range(i + 1, 7)
        if not graph.has_edge(i, j) and not graph.has_edge(j, i)
    }
    assert pairs_of(graphs.negative_edges(graph, len(free), seed=0)) == free
    counts = dict.fromkeys(free, 0)
    for seed in range(600):
        for pair in graphs.negative_edges(graph, 3, seed=seed).tolist():
            counts[tuple(pair)] += 1
    share = 3 / len(free)
    deviation = np.sqrt(600 * share * (1 - share))
    assert all(abs(count - 600 * share) < 5 * deviation for count in counts.values())


def test_negative_edges_of_a_large_graph_are_not_edges():
    graph = nx.fast_gnp_random_graph(3000, 0.002, seed=0)
    pairs = graphs.negative_edges(graph, 20_000, seed=0)
    assert len(pairs_of(pairs)) == 20_000 and pairs.max() == 2999
    assert not nx.to_scipy_sparse_array(graph).tocsr()[pairs[:, 0], pairs[:, 1]].any()


def test_pairs_on_the_device_are_uniform():
    pairs = np.asarray(graphs.uniform_pairs(20_000, nodes=4, seed=0))
    assert pairs.shape == (20_000, 2) and pairs.dtype == "int32"
    counts = np.bincount(4 * pairs[:, 0] + pairs[:, 1], minlength=16)
    assert np.all(np.abs(counts - 1250) < 5 * np.sqrt(1250))
    generator = keras.random.SeedGenerator(0)
    first, second = (graphs.uniform_pairs(8, 100, generator) for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: graphs.split_edges(np.eye(4, k=1)), ValueError, "symmetric"),
        (lambda: graphs.split_edges(np.eye(4)), ValueError, "edges other than self-loops.*4 nodes"),
        (lambda: graphs.split_edges(np.ones((3, 4))), ValueError, "square"),
        (lambda: graphs.split_edges(scipy.sparse.eye(3), test=1.0), ValueError, "`test`"),
        (lambda: graphs.split_edges(np.eye(3), -0.1), ValueError, "`validation`"),
        (lambda: graphs.split_edges(np.eye(3), 0.5, 0.5), ValueError, "leave edges"),
        (lambda: graphs.split_edges(np.eye(3), "few"), TypeError, "`validation`"),
        (lambda: graphs.split_edges(nx.complete_graph(9)), ValueError, "without an edge"),
        (lambda: graphs.split_edges("cora"), TypeError, "`graph`"),
        (lambda: graphs.negative_edges(nx.path_graph(4), 4), ValueError, "from 0 to 3"),
        (lambda: graphs.negative_edges(nx.path_graph(4), -1), ValueError, "count=-1"),
        (lambda: graphs.negative_edges(nx.path_graph(4), 1.0), TypeError, "`count`"),
        (lambda: graphs.uniform_pairs(2, 0), ValueError, "`nodes`"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
