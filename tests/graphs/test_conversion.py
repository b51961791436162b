"""Conversion from other libraries, compared with those libraries."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import graphs


def random_networkx(rng, directed):
    graph = nx.gnp_random_graph(12, 0.3, seed=1, directed=directed)
    graph.add_edge(4, 4)
    graph.add_node("alone")
    for u, v in graph.edges:
        graph.edges[u, v]["weight"] = float(rng.uniform(1, 2))
        graph.edges[u, v]["kind"] = (graph.edges[u, v]["weight"], 7.0)
    return graph


@pytest.mark.parametrize("directed", [False, True])
def test_networkx_edges_and_their_features(rng, directed):
    source = random_networkx(rng, directed)
    graph = graphs.from_networkx(source, e="kind")
    number = {node: i for i, node in enumerate(source)}
    a = graph.a.toarray()
    expected = np.zeros_like(a)
    for u, v, weight in source.edges(data="weight"):
        expected[number[v], number[u]] = weight
        if not directed:
            expected[number[u], number[v]] = weight
    np.testing.assert_array_equal(a, expected)
    np.testing.assert_array_equal(graph.a.data, graph.e[:, 0])
    assert graph.is_directed == directed
    assert graph.nodes == len(source)
    assert set(graphs.from_networkx(source, weight=None).a.data) == {1.0}


def test_networkx_node_attributes():
    source = nx.path_graph(3)
    nx.set_node_attributes(source, {0: "b", 1: "a", 2: "b"}, "class")
    nx.set_node_attributes(source, {0: 1.5, 1: 2.5, 2: 3.5}, "size")
    graph = graphs.from_networkx(source, x="size", y="class")
    assert graph.x.tolist() == [[1.5], [2.5], [3.5]]
    assert graph.y.tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match=r"'colour', which \(0,\) lacks.*class"):
        graphs.from_networkx(source, x="colour")


def test_networkx_parallel_edges():
    source = nx.MultiGraph([(0, 1), (0, 1)])
    assert graphs.from_networkx(source).a[0, 1] == 2
    with pytest.raises(ValueError, match="without parallel edges"):
        graphs.from_networkx(source, e="kind")


def test_networkx_without_edges():
    assert graphs.from_networkx(nx.empty_graph(3)).edges == 0
    assert graphs.from_networkx(nx.Graph()).nodes == 0


def test_networkx_attributes_that_are_not_arrays():
    source = nx.path_graph(3)
    nx.set_node_attributes(source, {0: [1.0], 1: [1.0, 2.0], 2: [1.0]}, "size")
    nx.set_node_attributes(source, {0: "a", 1: None, 2: "b"}, "class")
    nx.set_edge_attributes(source, "heavy", "weight")
    with pytest.raises(ValueError, match=r"'size' of shapes \[\(1,\), \(2,\)\]"):
        graphs.from_networkx(source, x="size", weight=None)
    with pytest.raises(TypeError, match=r"`y` must name labels of one type.*'class'"):
        graphs.from_networkx(source, y="class", weight=None)
    with pytest.raises(TypeError, match=r"`weight` must name.*number for every edge.*heavy"):
        graphs.from_networkx(source)


def test_edge_list_round_trip(rng):
    a = sp.random_array((9, 9), density=0.3, rng=rng, dtype=np.float32)
    edges = graphs.edge_list(a)
    order = rng.permutation(len(edges["senders"]))
    shuffled = {name: values[order] for name, values in edges.items()}
    graph = graphs.from_edge_list(shuffled, nodes=9, e=shuffled["weights"][:, None])
    assert (graph.a != sp.csr_array(a)).nnz == 0
    np.testing.assert_array_equal(graph.e[:, 0], graph.a.data)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ({"senders": [0], "receivers": [3]}, "`receivers` must be integers from 0 to 2.*3 to 3"),
        ({"senders": [-1], "receivers": [0]}, "`senders` must be integers from 0 to 2.*-1 to -1"),
        ({"senders": [0.0], "receivers": [1]}, "`senders` must be integers"),
        ({"senders": [0, 1], "receivers": [1]}, "vectors of the same length"),
        ({"senders": [[0]], "receivers": [[1]]}, "vectors of the same length"),
        ({"senders": [0]}, "`edges` must be a dictionary of 'senders', 'receivers'"),
        ({"senders": [0], "receivers": [1], "sizes": [1]}, "`edges` must be a dictionary"),
        ({"senders": [0], "receivers": [1], "weights": [np.nan]}, "`weights` must be finite"),
    ],
)
def test_bad_edge_lists(edges, message):
    with pytest.raises(ValueError, match=message):
        graphs.from_edge_list(edges, nodes=3)


def test_mismatched_edge_features_raise():
    with pytest.raises(ValueError, match="`e` must have one row for each of the 1 edges"):
        graphs.from_edge_list({"senders": [0], "receivers": [1]}, 2, e=np.ones((2, 1)))


def test_spektral_graphs(rng):
    spektral = pytest.importorskip("spektral")
    dense = rng.uniform(size=(4, 4)) * (rng.uniform(size=(4, 4)) < 0.5)
    rows, columns = np.nonzero(dense)
    e = rng.normal(size=(4, 4, 2)).astype("float32")
    for a in (dense, sp.csr_matrix(dense), sp.coo_matrix(dense)):
        for features in (e, e[rows, columns]):
            source = spektral.data.Graph(x=np.eye(4), a=a, e=features, y=np.array([0.0, 1.0]))
            graph = graphs.as_graph(source)
            np.testing.assert_allclose(graph.a.toarray(), dense, rtol=1e-6)
            np.testing.assert_array_equal(graph.e, e[rows, columns])
            np.testing.assert_array_equal(graph.y, source.y)


def test_as_graph_of_other_types():
    graph = graphs.Graph(a=np.eye(2))
    assert graphs.as_graph(graph) is graph
    assert graphs.as_graph(sp.eye_array(3)).nodes == 3
    assert graphs.as_graph(np.eye(3)).nodes == 3
    for other in ("cora", 3, [np.eye(2)]):
        with pytest.raises(TypeError, match="`graph` must be a graph"):
            graphs.as_graph(other)
    with pytest.raises(TypeError, match="`graph` must be a networkx graph"):
        graphs.from_networkx(np.eye(2))
