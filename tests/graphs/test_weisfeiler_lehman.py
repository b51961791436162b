"""Color refinement compared with networkx, and its known limits."""

import warnings

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_ssl import graphs


@st.composite
def adjacencies(draw, directed=False, most=8):
    n = draw(st.integers(1, most))
    a = np.array(draw(st.lists(st.booleans(), min_size=n * n, max_size=n * n))).reshape(n, n)
    np.fill_diagonal(a, False)
    return a if directed else a & a.T


def counts(colors):
    return [tuple(map(tuple, np.stack(np.unique(row, return_counts=True), 1))) for row in colors]


@settings(max_examples=60, deadline=None)
@given(adjacencies(directed=True), st.randoms(use_true_random=False), st.booleans())
def test_colors_do_not_depend_on_the_order_of_nodes(a, random, labelled):
    n = len(a)
    order = random.sample(range(n), n)
    labels = np.array([random.randrange(3) for _ in range(n)]) if labelled else None
    colors = graphs.weisfeiler_lehman(a, labels=labels)
    permuted = a[order][:, order]
    permuted_labels = None if labels is None else labels[order]
    np.testing.assert_array_equal(
        graphs.weisfeiler_lehman(permuted, labels=permuted_labels), colors[:, order]
    )
    assert graphs.is_possibly_isomorphic(a, permuted, labels, permuted_labels)


@pytest.mark.parametrize("directed", [False, True])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_agrees_with_networkx_hashes(data, directed):
    kind = nx.DiGraph if directed else nx.Graph
    # few nodes, since networkx concatenates the digits of degrees without a separator
    n = data.draw(st.integers(1, 6))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] != p[1])
    both = []
    for _ in range(2):
        graph = nx.empty_graph(n, create_using=kind)
        if n > 1:
            graph.add_edges_from(data.draw(st.lists(pairs, max_size=9)))
        # networkx would start with in-degree plus out-degree
        nx.set_node_attributes(graph, "0", "label")
        both.append(graph)
    iterations = 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [
            nx.weisfeiler_lehman_graph_hash(one, node_attr="label", iterations=iterations)
            for one in both
        ]
    # with a common start, compare the histograms after the last iteration
    ours = [counts(graphs.weisfeiler_lehman(one, iterations)) for one in both]
    assert (theirs[0] == theirs[1]) == (ours[0] == ours[1])


@settings(max_examples=150, deadline=None)
@given(adjacencies(most=6), adjacencies(most=6))
def test_isomorphic_graphs_have_equal_colors_and_small_differences_are_found(a, b):
    isomorphic = nx.is_isomorphic(nx.from_numpy_array(a), nx.from_numpy_array(b))
    possibly = graphs.is_possibly_isomorphic(a, b)
    assert possibly or not isomorphic
    if len(a) <= 5:  # the smallest undirected counterexamples have six nodes
        assert possibly == isomorphic


def test_two_triangles_and_a_cycle_of_six_are_not_distinguished():
    triangles = nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
    assert graphs.is_possibly_isomorphic(nx.cycle_graph(6), triangles)
    # but labels can distinguish them
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert not graphs.is_possibly_isomorphic(nx.cycle_graph(6), triangles, labels, labels)


def test_atlas_graphs_of_seven_nodes_are_distinguished_as_by_networkx():
    """1,044 nonisomorphic graphs, partitioned in the same way by networkx' hashes."""
    atlas = [one for one in nx.graph_atlas_g() if len(one) == 7]
    assert len(atlas) == 1044
    for one in atlas:
        nx.set_node_attributes(one, "0", "label")
    theirs = [
        nx.weisfeiler_lehman_graph_hash(one, node_attr="label", iterations=7) for one in atlas
    ]
    ours = [hash(counts(graphs.weisfeiler_lehman(one, 7))[-1]) for one in atlas]
    assert len(set(ours)) == len(set(theirs)) == len(set(zip(ours, theirs, strict=True))) < 1044


def test_refines_until_the_partition_is_stable():
    colors = graphs.weisfeiler_lehman(nx.path_graph(7))
    # a path of 7 has 4 kinds of nodes, found one per iteration from the ends
    assert [len(set(row)) for row in colors.tolist()] == [1, 2, 3, 4]
    np.testing.assert_array_equal(colors, graphs.weisfeiler_lehman(nx.path_graph(7), 3))
    assert graphs.weisfeiler_lehman(nx.cycle_graph(5)).shape == (1, 5)
    assert graphs.weisfeiler_lehman(nx.cycle_graph(5), 2).shape == (3, 5)


def test_directions_weights_and_zeros():
    a = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])  # 2 -> 1 -> 0
    assert len(set(graphs.weisfeiler_lehman(a)[-1].tolist())) == 3
    out, into = np.zeros((3, 3)), np.zeros((3, 3))
    out[1:, 0], into[0, 1:] = 1, 1
    assert not graphs.is_possibly_isomorphic(out, into)
    np.testing.assert_array_equal(graphs.weisfeiler_lehman(a), graphs.weisfeiler_lehman(2.5 * a))
    stored_zero = scipy.sparse.csr_array(([0.0], ([0], [1])), shape=(3, 3))
    assert len(graphs.weisfeiler_lehman(stored_zero)) == 1
    from_networkx = graphs.weisfeiler_lehman(nx.DiGraph([(0, 1), (0, 2)]))
    np.testing.assert_array_equal(from_networkx, graphs.weisfeiler_lehman(out))


def test_string_labels_are_distinguished():
    ring = nx.cycle_graph(4)
    one, other, *_ = graphs.weisfeiler_lehman(ring, labels=["C", "N", "C", "C"])[0]
    assert one != other
    assert not graphs.is_possibly_isomorphic(ring, ring, ["C", "N", "N", "C"], ["N", "C", "N", "C"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"graph": np.zeros((2, 3))}, ValueError, r"square.*\(2, 3\)"),
        ({"graph": np.full((2, 2), np.nan)}, ValueError, "finite"),
        ({"graph": {"senders": [0], "receivers": [0]}}, TypeError, "`graph` must be a graph"),
        ({"graph": np.eye(2), "iterations": -1}, ValueError, "at least 0"),
        ({"graph": np.eye(2), "iterations": 1.0}, TypeError, "integer"),
        ({"graph": np.eye(2), "labels": [1, 2, 3]}, ValueError, "2 nodes"),
        ({"graph": np.eye(2), "labels": [0.5, 1.0]}, TypeError, "integers or strings"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        graphs.weisfeiler_lehman(**arguments)


def test_labels_of_only_one_graph_raise():
    with pytest.raises(ValueError, match="together"):
        graphs.is_possibly_isomorphic(np.eye(2), np.eye(2), [0, 1])
