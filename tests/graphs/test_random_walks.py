"""The distribution of random walks, compared with the formula of the paper."""

from collections import Counter

import keras
import networkx as nx
import numpy as np
import pytest
import scipy.sparse
from keras import ops

from keras_ssl import graphs
from keras_ssl.graphs._hashed_uniform import hashed_uniform

WALKS = 20_000


def weighted_graph():
    graph = nx.Graph()
    graph.add_weighted_edges_from(
        [(0, 1, 1.0), (0, 2, 2.0), (1, 2, 3.0), (2, 3, 0.5), (3, 4, 1.0), (2, 4, 4.0), (4, 5, 1.0)]
    )
    return graph


def directed_graph():
    edges = [(0, 1), (1, 0), (1, 2), (2, 0), (2, 3), (0, 3), (3, 0), (1, 3), (3, 1)]
    return nx.DiGraph(edges)


def probabilities(graph, previous, current, p, q):
    """α(t, x) w_vx, normalized, node by node as in the paper."""
    weights = {}
    for x in graph[current]:
        alpha = 1 / p if x == previous else 1.0 if graph.has_edge(previous, x) else 1 / q
        weights[x] = alpha * graph[current][x].get("weight", 1.0)
    total = sum(weights.values())
    return {x: weight / total for x, weight in weights.items()}


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (0.25, 4.0), (4.0, 0.25), (100.0, 0.5)])
@pytest.mark.parametrize(
    "graph",
    # indices are in the order of the nodes in the graph
    [
        nx.convert_node_labels_to_integers(nx.barbell_graph(4, 1)),
        weighted_graph(),
        directed_graph(),
    ],
    ids=["barbell", "weighted", "directed"],
)
def test_second_steps_have_the_probabilities_of_the_paper(graph, p, q):
    starts = np.repeat(np.arange(len(graph)), WALKS // len(graph))
    walks = np.asarray(graphs.random_walks(graph, starts, 2, p, q, seed=1))
    np.testing.assert_array_equal(walks[:, 0], starts)
    found = Counter(map(tuple, walks.tolist()))
    per_start = WALKS // len(graph)
    for t in graph:
        first = probabilities(graph, None, t, 1.0, 1.0)
        for v in graph[t]:
            for x, share in probabilities(graph, t, v, p, q).items():
                expected = first[v] * share
                deviation = np.sqrt(expected * (1 - expected) / per_start)
                assert abs(found.pop((t, v, x), 0) / per_start - expected) < 5 * deviation + 1e-9
    assert not found  # no other walks


def test_later_steps_depend_on_the_previous_node():
    """Pairs of steps of a long walk have the same probabilities as its first ones."""
    graph, p, q = weighted_graph(), 0.5, 3.0
    walks = np.asarray(graphs.random_walks(graph, np.zeros(500, "int32"), 60, p, q, seed=2))
    triples = np.concatenate([walks[:, i : i + 3] for i in range(59)])
    for t, v in [(0, 2), (2, 4), (4, 2), (3, 2)]:
        after = triples[(triples[:, 0] == t) & (triples[:, 1] == v), 2]
        for x, share in probabilities(graph, t, v, p, q).items():
            assert np.mean(after == x) == pytest.approx(share, abs=5 * 0.5 / np.sqrt(len(after)))


def test_walks_stay_at_nodes_without_outgoing_edges():
    graph = nx.DiGraph([(0, 1), (1, 2)])
    graph.add_node(3)
    for q in (1.0, 2.0):
        walks = graphs.random_walks(graph, [0, 1, 2, 3], length=4, q=q)
        expected = [[0, 1, 2, 2, 2], [1, 2, 2, 2, 2], [2] * 5, [3] * 5]
        np.testing.assert_array_equal(walks, expected)


def test_every_step_is_an_edge_of_a_large_graph_with_hubs():
    graph = nx.barabasi_albert_graph(2000, 3, seed=0)
    neighbors = graphs.neighbors_of(graph)
    walks = np.asarray(graphs.random_walks(neighbors, np.arange(2000), 20, 0.5, 2.0, seed=0))
    a = nx.to_scipy_sparse_array(graph).tocsr()
    assert np.all(a[walks[:, :-1].ravel(), walks[:, 1:].ravel()] == 1)
    assert len(set(map(tuple, walks[:, 1:]))) > 1900


@pytest.mark.full
def test_the_same_seed_gives_the_same_walks_compiled_or_not():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compiles with TensorFlow")
    import tensorflow as tf

    from keras_ssl.graphs.random_walks import draw_steps
    from keras_ssl.graphs.random_walks import walk as walk_drawn

    neighbors = graphs.neighbors_of(nx.wheel_graph(300))  # with a hub

    def walk(starts):
        return graphs.random_walks(neighbors, starts, 10, 0.3, 3.0, seed=5)

    starts = tf.range(120)
    np.testing.assert_array_equal(walk(starts), tf.function(walk)(starts))
    # XLA draws other numbers, but the walks are the same given the numbers
    drawn = draw_steps(120, 10, seed=5)
    compiled = tf.function(walk_drawn, jit_compile=True)(neighbors, starts, drawn, 0.3, 3.0)
    np.testing.assert_array_equal(walk(starts), compiled)


def test_is_edge_equals_the_matrix(rng):
    a = scipy.sparse.random_array((30, 30), density=0.2, rng=rng)
    a.data[:3] = 0
    neighbors = graphs.neighbors_of(a)
    senders, receivers = np.divmod(np.arange(900), 30)
    found = np.asarray(graphs.is_edge(neighbors, senders, receivers)).reshape(30, 30)
    np.testing.assert_array_equal(found, a.toarray().T != 0)
    broadcast = graphs.is_edge(neighbors, np.arange(30)[:, None], np.arange(30)[None])
    np.testing.assert_array_equal(broadcast, found)


def test_hashed_numbers_are_uniform_and_uncorrelated():
    from scipy import stats

    uniform = np.asarray(hashed_uniform(np.arange(500)[:, None], np.arange(200)))
    assert uniform.min() >= 0 and uniform.max() < 1
    assert stats.kstest(uniform.ravel(), "uniform").pvalue > 1e-3
    for one, other in (
        (uniform[:, 1:], uniform[:, :-1]),
        (uniform[1:], uniform[:-1]),
        (uniform[:, ::2], uniform[:, 1::2]),
    ):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)
    cells = np.histogram2d(uniform[:, 0::2].ravel(), uniform[:, 1::2].ravel(), bins=16)[0]
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3


def test_dynamic_batch_size():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("traces with TensorFlow")
    import tensorflow as tf

    neighbors = graphs.neighbors_of(nx.cycle_graph(5))

    @tf.function(input_signature=[tf.TensorSpec((None,), "int64")])
    def walk(starts):
        return graphs.random_walks(neighbors, starts, 3, 0.5, 2.0, seed=0)

    assert walk(np.arange(5)).shape == (5, 4)
    assert walk(np.arange(2)).shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"graph": np.zeros((3, 3))}, ValueError, "must have edges.*3 nodes"),
        ({"graph": -np.eye(3)}, ValueError, "positive weights.*-1.0"),
        ({"graph": np.ones((3, 2))}, ValueError, "square"),
        ({"graph": "karate"}, TypeError, "`graph`"),
        ({"starts": [0.0]}, TypeError, "`starts`.*float32"),
        ({"starts": [[0]]}, ValueError, r"`starts`.*\(1, 1\)"),
        ({"length": 0}, ValueError, "`length`"),
        ({"length": 2.0}, TypeError, "`length`"),
        ({"p": 0.0}, ValueError, "`p`"),
        ({"q": -1.0}, ValueError, "`q`.*q=-1.0"),
        ({"q": float("nan")}, ValueError, "`q`"),
        ({"p": "far"}, TypeError, "`p`"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        graphs.random_walks(**{"graph": np.ones((3, 3)), "starts": [0], "length": 2, **arguments})


def test_walks_are_integers():
    walks = graphs.random_walks(nx.cycle_graph(5), ops.arange(5), 7, seed=0)
    assert keras.backend.standardize_dtype(walks.dtype) == "int32" and walks.shape == (5, 8)
