"""Layers on `[[x_source, x_target], a]`, compared with formulas in float64 and with one graph."""

import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers import ProjectionHead
from keras_ssl.layers.graph import (
    GATConv,
    GATv2Conv,
    GCNConv,
    GINConv,
    GraphSAGEConv,
    GraphSequential,
    LSTMNeighbors,
    MessagePassing,
)
from tests.layers.graph.conformance import tensors

SOURCES, TARGETS, CHANNELS = 6, 4, 3


class Difference(MessagePassing):
    """A layer of one's own that reads both ends and the old features."""

    def message(self, x, edges, e=None):
        return edges.weights * (edges.from_senders(x) - edges.from_receivers(x))

    def update(self, x, aggregated):
        return x + 2 * aggregated


LAYERS = {
    "sum": lambda: MessagePassing(),
    "max": lambda: MessagePassing("max"),
    "std": lambda: MessagePassing("std"),
    "of one's own": lambda: Difference(),
    "sage": lambda: GraphSAGEConv(CHANNELS),
    "sage of few channels": lambda: GraphSAGEConv(2),
    "sage by max": lambda: GraphSAGEConv(CHANNELS, "max"),
    "lstm": lambda: GraphSAGEConv(CHANNELS, LSTMNeighbors(3, max_neighbors=4)),
    "gat": lambda: GATConv(CHANNELS, attn_heads=2, add_self_loops=False),
    "gatv2": lambda: GATv2Conv(CHANNELS, attn_heads=2, add_self_loops=False),
    "gatv2 shared": lambda: GATv2Conv(CHANNELS, add_self_loops=False, share_weights=True),
    "gin": lambda: GINConv(ProjectionHead((5, CHANNELS), normalization=False)),
}
OF_EQUAL_WIDTH = ("of one's own", "gatv2 shared", "gin", "std")


@pytest.fixture
def a(rng):
    """(targets, sources), weighted; the last target receives nothing."""
    a = rng.uniform(0.5, 2, size=(TARGETS, SOURCES)) * (rng.uniform(size=(TARGETS, SOURCES)) < 0.5)
    a[-1] = 0
    return a.astype("float32")


def features(rng, name):
    widths = (5, 5) if name in OF_EQUAL_WIDTH else (5, 2)
    return [
        rng.normal(size=(count, width)).astype("float32")
        for count, width in zip((SOURCES, TARGETS), widths, strict=True)
    ]


def forms(a):
    receivers, senders = np.nonzero(a)
    edges = {"senders": senders, "receivers": receivers, "weights": a[receivers, senders]}
    padded = {key: np.pad(value, (0, 3)) for key, value in edges.items()}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        sparse = tf.sparse.from_dense(a)
    else:
        from jax.experimental.sparse import BCOO

        sparse = BCOO.fromdense(a)
    return {"dense": a, "sparse": sparse, "list": padded}


@pytest.mark.parametrize("name", LAYERS)
def test_all_forms_and_modes_agree(rng, a, name):
    layer, x = LAYERS[name](), features(rng, name)
    expected = np.asarray(layer([x, a]))
    assert len(expected) == TARGETS
    assert layer.compute_output_shape([[one.shape for one in x], a.shape]) == expected.shape
    for key, form in forms(a).items():
        out = layer(tensors([x, form]))
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5, err_msg=key)
    doubled = [np.stack([one, 2 * one]) for one in x]
    of_double = layer([[2 * one for one in x], a])
    for key, form in {"batch": np.stack([a, a]), "mixed": a, **forms(a)}.items():
        out = layer(tensors([doubled, form]))
        np.testing.assert_allclose(out[0], expected, rtol=1e-4, atol=1e-5, err_msg=key)
        np.testing.assert_allclose(out[1], of_double, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", OF_EQUAL_WIDTH)
def test_equals_one_graph_of_both_kinds_of_nodes(rng, a, name):
    """Targets first, then sources, with edges from sources to targets only."""
    layer, x = LAYERS[name](), features(rng, name)
    out = layer([x, a])
    square = np.zeros((TARGETS + SOURCES, TARGETS + SOURCES), "float32")
    square[:TARGETS, TARGETS:] = a
    whole = LAYERS[name]()
    whole.build([(len(square), 5), square.shape])
    whole.set_weights(layer.get_weights())
    expected = whole([np.concatenate(x[::-1]), square])[:TARGETS]
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_sage_equals_its_formula(rng, a):
    layer, x = GraphSAGEConv(CHANNELS, bias_initializer="uniform"), features(rng, "sage")
    out = layer([x, a])
    own, neighbors, bias = (np.asarray(one, "float64") for one in layer.get_weights())
    mean = a.astype("float64") @ x[0] / np.maximum((a != 0).sum(1, keepdims=True), 1)
    expected = x[1] @ own + mean @ neighbors + bias
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer_class", [GATConv, GATv2Conv])
def test_attention_equals_its_formula(rng, a, layer_class):
    """Of PyTorch Geometric for a pair of widths: separate kernels for sources and targets."""
    layer, x = layer_class(CHANNELS, add_self_loops=False), features(rng, "gat")
    out, scores = layer([x, a], return_attention_scores=True)
    by_name = {one.name: np.asarray(one, "float64") for one in layer.weights}
    if layer_class is GATConv:
        sent, received = x[0] @ by_name["kernel"], x[1] @ by_name["target_kernel"]
        logits = (
            received @ by_name["attention_receiver"].T + (sent @ by_name["attention_sender"].T).T
        )
        logits = np.where(logits > 0, logits, 0.2 * logits)
    else:
        sent, received = x[0] @ by_name["sender_kernel"], x[1] @ by_name["receiver_kernel"]
        pairs = received[:, None] + sent[None]
        logits = np.where(pairs > 0, pairs, 0.2 * pairs) @ by_name["attention"][0]
    powers = np.exp(logits) * (a != 0)
    attention = powers / np.maximum(powers.sum(1, keepdims=True), 1e-300)
    np.testing.assert_allclose(scores[..., 0], attention, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out, attention @ sent, rtol=1e-4, atol=1e-5)


def test_edge_features_change_attention(rng, a):
    x, e = features(rng, "gat"), rng.normal(size=(*a.shape, 2)).astype("float32")
    layer = GATConv(CHANNELS, add_self_loops=False)
    dense = layer([x, a, e])
    receivers, senders = np.nonzero(a)
    edges = {"senders": senders, "receivers": receivers}
    np.testing.assert_allclose(layer([x, edges, e[a != 0]]), dense, rtol=1e-5, atol=1e-5)
    assert np.abs(dense - layer([x, a, 2 * e])).max() > 1e-3


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trains with TensorFlow")
@pytest.mark.parametrize("name", ["sage", "gat", "gatv2"])
def test_a_model_trains_saves_and_loads(rng, a, name, tmp_path):
    x = features(rng, name)
    inputs = [keras.Input(batch_shape=one.shape) for one in x]
    adjacency = keras.Input(batch_shape=a.shape)
    outputs = LAYERS[name]()([inputs, adjacency])
    model = keras.Model([*inputs, adjacency], keras.layers.Dense(1)(outputs))
    model.compile("sgd", "mse")
    before = [np.array(one) for one in model.get_weights()]
    model.train_on_batch([*x, a], np.ones((TARGETS, 1), "float32"))
    moved = [
        np.abs(one - other).max() for one, other in zip(before, model.get_weights(), strict=True)
    ]
    assert min(moved) > 0
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded([*x, a]), model([*x, a]))


def test_what_makes_no_sense_is_refused(rng, a):
    x = features(rng, "gat")
    with pytest.raises(ValueError, match=r"`GCNConv` takes one set of nodes"):
        GCNConv(2)([x, graphs.edge_list(a @ a.T)])
    with pytest.raises(ValueError, match="add_self_loops=False"):
        GATConv(2)([x, a])
    with pytest.raises(ValueError, match=r"`GINConv`.*5 features of sources, 2 of targets"):
        GINConv(keras.layers.Identity())([x, a])
    with pytest.raises(ValueError, match="share_weights=True"):
        GATv2Conv(2, add_self_loops=False, share_weights=True)([x, a])
    with pytest.raises(ValueError, match=r"\(targets, sources\).*6 sources and 4 targets"):
        MessagePassing()([x, a.T])
    with pytest.raises(ValueError, match="pair"):
        MessagePassing()([[x[0], x[1][None]], a])
    with pytest.raises(ValueError, match="`GraphSequential` takes one set of nodes"):
        GraphSequential([MessagePassing()])([x, a])
