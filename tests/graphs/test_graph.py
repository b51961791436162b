"""`Graph`: conversion and checks of its arguments."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl.graphs import Graph

PATH = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])


def test_arguments_are_converted():
    graph = Graph(sp.coo_matrix(np.eye(3)), sp.coo_matrix(PATH), y=[0, 1, 1])
    assert graph.a.dtype == graph.x.dtype == np.float32
    assert graph.a.format == graph.x.format == "csr"
    assert (graph.nodes, graph.edges, graph.is_directed) == (3, 4, False)
    assert graph.splits == {}
    np.testing.assert_array_equal(graph.a.toarray(), PATH)


def test_arguments_are_not_modified():
    a = sp.csr_matrix((np.array([1.0, 2.0, 0.0]), ([0, 0, 1], [1, 1, 2])), shape=(3, 3))
    before = a.copy()
    Graph(a=a)
    assert a.nnz == before.nnz and (a != before).nnz == 0


def test_duplicates_are_summed_and_zeros_are_not_edges():
    a = sp.coo_array(([1.0, 2.0, 0.0, 1.0, -1.0], ([0, 0, 1, 2, 2], [1, 1, 2, 0, 0])), shape=(3, 3))
    graph = Graph(a=a)
    assert graph.edges == 1
    assert graph.a[0, 1] == 3


def test_edge_features_follow_the_rows():
    rows, columns = np.array([2, 0, 1, 0]), np.array([1, 2, 0, 1])
    weights = np.array([4.0, 2.0, 0.0, 1.0])
    # row by row: (0, 1), (0, 2), (1, 0) of weight 0, (2, 1)
    graph = Graph(
        a=sp.coo_array((weights, (rows, columns)), shape=(3, 3)), e=[[1.0], [2.0], [9.0], [4.0]]
    )
    np.testing.assert_array_equal(graph.a.data, graph.e[:, 0])


def test_direction():
    assert Graph(a=np.triu(PATH)).is_directed
    assert not Graph(a=PATH * 0.3).is_directed


def test_graphs_are_immutable():
    graph = Graph(np.eye(3), PATH)
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.x = None
    assert dataclasses.replace(graph, y=np.arange(3)).y.tolist() == [0, 1, 2]


def test_no_edges_and_no_features():
    graph = Graph(a=sp.csr_array((4, 4)))
    assert (graph.nodes, graph.edges, graph.x) == (4, 0, None)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": None}, "`a` must be an adjacency"),
        ({"a": np.zeros((2, 3))}, r"`a` must be square.*Received: a.shape=\(2, 3\)"),
        ({"a": np.zeros((2, 3, 3))}, "`a` must be one matrix"),
        ({"a": PATH * np.nan}, "`a` must hold finite numbers.*9 of 9"),
        (
            {"x": np.eye(4)},
            r"`x` must have shape .n, features.*3 nodes.*Received: x.shape=\(4, 4\)",
        ),
        ({"x": np.ones(3)}, r"`x` must have shape.*Received: x.shape=\(3,\)"),
        ({"a": PATH * 1e300}, "`a` must hold finite numbers.*4 of 4"),
        ({"x": np.full((3, 1), 1e300)}, "`x` must hold finite numbers.*3 of 3"),
        ({"x": np.full((3, 1), np.nan)}, "`x` must hold finite numbers.*3 of 3"),
        ({"x": sp.csr_array(np.diag([1, np.nan, np.inf]))}, "`x` must hold finite.*2 of 3"),
        ({"e": np.ones((3, 1))}, r"`e` must have shape .edges, features.*4 edges.*\(3, 1\)"),
        ({"e": np.full((4, 1), np.inf)}, "`e` must hold finite numbers"),
        ({"y": [0.0, np.nan, 1.0]}, "`y` must hold finite numbers"),
        ({"splits": {"train": np.arange(3)}}, r"`splits\['train'\]` must be a boolean mask"),
        ({"splits": {"test": np.ones(2, bool)}}, r"`splits\['test'\]`.*shape \(3,\).*\(2,\)"),
        (
            {"a": sp.coo_array(([1, 1], ([0, 0], [1, 1])), shape=(3, 3)), "e": np.ones((2, 1))},
            "every edge once",
        ),
    ],
)
def test_bad_parts(parts, message):
    with pytest.raises(ValueError, match=message):
        Graph(**({"a": PATH} | parts))


def test_broken_indices():
    a = sp.csr_array(PATH.astype(float))
    a.indices[0] = 7
    with pytest.raises(ValueError, match="edges out of range"):
        Graph(a=a)
    a.indices[0] = -1
    with pytest.raises(ValueError, match="edges out of range"):
        Graph(a=a)


@pytest.mark.parametrize(
    "parts",
    [
        {"x": [["a"]] * 3},
        {"x": sp.csr_array(1j * np.eye(3))},
        {"a": "graph"},
        {"a": sp.csr_array(1j * np.eye(3))},
        {"e": [["a"]] * 4},
    ],
)
def test_arguments_that_are_not_numbers_raise(parts):
    with pytest.raises(TypeError, match=r"must (be|hold).*numbers.*Received"):
        Graph(**({"a": PATH} | parts))
