"""Disjoint unions compared with networkx."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import graphs


def members(rng):
    sources = [nx.path_graph(4), nx.empty_graph(2), nx.cycle_graph(3)]
    return sources, [
        graphs.Graph(
            rng.normal(size=(len(source), 5)),
            nx.to_scipy_sparse_array(source),
            e=rng.normal(size=(2 * source.number_of_edges(), 2)),
            y=number,
        )
        for number, source in enumerate(sources)
    ]


def test_union_equals_networkx(rng):
    sources, parts = members(rng)
    union, i = graphs.disjoint_union(parts)
    expected = nx.to_numpy_array(nx.disjoint_union_all(sources))
    np.testing.assert_array_equal(union.a.toarray(), expected)
    np.testing.assert_array_equal(i, [0, 0, 0, 0, 1, 1, 2, 2, 2])
    assert i.dtype == np.int32
    np.testing.assert_array_equal(union.x[4:6], parts[1].x)
    np.testing.assert_array_equal(union.e[6:], parts[2].e)
    assert union.y.tolist() == [0, 1, 2]


def test_labels_of_nodes_and_sparse_features():
    parts = [graphs.Graph(sp.eye_array(n, 4), np.eye(n), y=np.full(n, n)) for n in (2, 4)]
    union, _ = graphs.disjoint_union(parts, node_labels=True)
    assert union.y.tolist() == [2, 2, 4, 4, 4, 4]
    assert sp.issparse(union.x) and union.x.shape == (6, 4)


def test_bad_members(rng):
    _, parts = members(rng)
    with pytest.raises(ValueError, match="at least one graph"):
        graphs.disjoint_union([])
    empty = graphs.Graph(np.zeros((0, 5)), sp.csr_array((0, 0)), e=np.zeros((0, 2)), y=0)
    with pytest.raises(ValueError, match=r"must have nodes.*no nodes in graphs \[1\] of 3"):
        graphs.disjoint_union([parts[0], empty, parts[1]])
    with pytest.raises(ValueError, match="same kind of `x`"):
        graphs.disjoint_union([parts[0], graphs.Graph(np.ones((2, 4)), np.eye(2))])
    with pytest.raises(ValueError, match="same kind of `x`"):
        graphs.disjoint_union([parts[0], graphs.Graph(a=np.eye(2))])
    with pytest.raises(ValueError, match="`y` of graphs"):
        graphs.disjoint_union([graphs.Graph(a=np.eye(n), y=np.ones(n)) for n in (2, 3)])
