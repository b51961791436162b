"""The stored arrays have the expected meaning: rows of `a` are receivers."""

import numpy as np
import pytest

from tests.layers.graph import peers


def test_all_forms_are_the_same_matrix():
    graph = peers.graph("self_loops")
    np.testing.assert_array_equal(graph.sparse.toarray(), graph.a)
    assert graph.a[7, 7] > 0
    assert not np.delete(graph.a[7], 7).any()
    assert not np.array_equal(graph.a, graph.a.T)
    order = graph.edges["receivers"] * len(graph.x) + graph.edges["senders"]
    assert np.all(np.diff(order) > 0)


def test_stored_arrays_contain_no_nan():
    assert len(peers.names()) > 30
    for name in peers.names():
        assert np.isfinite(peers.case(name).output).all(), name


@pytest.mark.parametrize("name", ["gcn/directed", "gcn/undirected", "gcn/union"])
def test_gcn_equals_its_formula(name):
    case = peers.case(name)
    a = case.graph.a.astype("float64") + np.eye(len(case.graph.x))
    scale = a.sum(1) ** -0.5
    expected = scale[:, None] * a * scale @ case.graph.x @ case.weights["kernel"]
    np.testing.assert_allclose(case.output, expected + case.weights["bias"], rtol=1e-5, atol=1e-6)


def test_mean_of_neighbors_equals_its_formula():
    case = peers.case("sage/mean")
    connected = case.graph.unweighted().a.astype("float64")
    mean = connected @ case.graph.x / np.maximum(connected.sum(1, keepdims=True), 1)
    expected = mean @ case.weights["neighbors_kernel"] + case.weights["bias"]
    expected += case.graph.x @ case.weights["self_kernel"]
    np.testing.assert_allclose(case.output, expected, rtol=1e-5, atol=1e-6)


def test_attention_equals_its_formula():
    case = peers.case("gat/concat")
    connected = (case.graph.a > 0) | np.eye(len(case.graph.x), dtype=bool)
    x = (case.graph.x @ case.weights["kernel"]).reshape(len(connected), 3, 4).astype("float64")
    sent = (x * case.weights["attention_sender"]).sum(-1)
    received = (x * case.weights["attention_receiver"]).sum(-1)
    scores = received.T[:, :, None] + sent.T[:, None, :]
    scores = np.exp(np.where(scores > 0, scores, 0.2 * scores)) * connected
    attention = scores / scores.sum(-1, keepdims=True)
    np.testing.assert_allclose(case.more["attention"], attention, rtol=1e-5, atol=1e-6)
    output = np.einsum("hij,jhu->ihu", attention, x).reshape(len(connected), -1)
    np.testing.assert_allclose(case.output, output + case.weights["bias"], rtol=1e-5, atol=1e-6)
