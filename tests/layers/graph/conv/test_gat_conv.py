import keras
import numpy as np
import pytest
import scipy.sparse

from keras_ssl import graphs
from keras_ssl.layers.graph import GATConv
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, spektral_output, tensors
from tests.layers.graph.conv.attention import Properties, assert_equals_peer, built

ORDER = (
    "kernel",
    "attention_sender",
    "attention_receiver",
    "edge_kernel",
    "attention_edge",
    "bias",
)


class TestConformance(GraphLayerTest):
    def test_concatenated_heads(self):
        self.check(GATConv, weights=4, outputs=6, channels=3, attn_heads=2)

    def test_averaged_heads_with_edge_features(self):
        settings = {"channels": 3, "attn_heads": 2, "concat_heads": False, "activation": "elu"}
        self.check(GATConv, weights=6, edge_features=2, dropout_rate=0.5, **settings)


class TestProperties(Properties):
    layer = GATConv


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("concat", {}),
        ("mean", {"concat_heads": False}),
        ("undirected", {}),
        ("no_self_loops_added", {"add_self_loops": False}),
        ("edge_features", {"add_self_loops": False}),
    ],
)
def test_equals_pytorch_geometric(name, arguments):
    case = peers.case(f"gat/{name}")
    layer = built(GATConv, case, ORDER, **arguments)
    assert_equals_peer(layer, case, with_edge_features=name == "edge_features")


@pytest.mark.parametrize("form", ["a", "edges", "sparse"])
def test_gradients_equal_pytorch_geometric(form):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients by tf.GradientTape")
    import tensorflow as tf

    case = peers.case("gat/concat")
    layer = built(GATConv, case, ORDER)
    x, a = tf.Variable(case.graph.x), getattr(case.graph, form)
    a = graphs.sparse_tensor(a) if form == "sparse" else a
    with tf.GradientTape() as tape:
        out = layer([tf.convert_to_tensor(x), a])
        loss = tf.reduce_sum(out * case.more["probe"])
    names = ("x", "kernel", "attention_sender", "attention_receiver", "bias")
    found = tape.gradient(loss, [x, *(weight.value for weight in layer.weights)])
    for name, gradient in zip(names, found, strict=True):
        expected = case.gradients[name].reshape(gradient.shape)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=2e-5, err_msg=name)


def test_feature_dropout_is_the_same_for_all_receivers():
    """With uniform attention and kernel 1: the mean of dropped and scaled features."""
    layer = GATConv(1, feature_dropout_rate=0.5, kernel_initializer="ones", seed=0)
    inputs = [np.ones((400, 1)), np.ones((400, 400))]
    np.testing.assert_allclose(layer(inputs, training=False), 1, rtol=1e-5)
    out = np.asarray(layer(inputs, training=True))
    np.testing.assert_allclose(out, out[0, 0], rtol=1e-5)
    # a mean of 0 and 2, where 400 features are dropped or kept
    kept = out[0, 0] * 200
    assert kept == pytest.approx(round(kept), abs=1e-2) and round(kept) != 200
    assert abs(kept - 200) < 5 * 0.5 * np.sqrt(400)


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_input_dropout_is_drawn_separately_for_each_head(form):
    """Each node attends to its only feature 1: 0 if dropped, otherwise 1 / (1 - rate)."""
    x = np.ones((400, 1), "float32")
    if form == "sparse":
        x = graphs.sparse_tensor(scipy.sparse.csr_array(x))
    layer = GATConv(1, attn_heads=2, input_dropout_rate=0.5, kernel_initializer="ones", seed=0)
    inputs = tensors([x, np.eye(400, dtype="float32")])
    np.testing.assert_allclose(layer(inputs, training=False), 1, rtol=1e-5)
    out = np.asarray(layer(inputs, training=True))
    assert set(out.ravel().round(4)) == {0.0, 2.0}
    kept = out > 0
    shares = [kept[:, 0].mean(), kept[:, 1].mean(), kept.all(axis=1).mean()]
    np.testing.assert_allclose(shares, [0.5, 0.5, 0.25], atol=5 * 0.5 / np.sqrt(400))


@pytest.mark.parametrize("concat_heads", [True, False])
def test_equals_spektral_with_the_same_weights_and_penalties(rng, concat_heads):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Spektral needs TensorFlow")
    peers_layers = pytest.importorskip("spektral.layers")
    penalties = {
        "kernel_regularizer": keras.regularizers.L2(0.1),
        "attn_kernel_regularizer": keras.regularizers.L1(0.2),
        "bias_regularizer": keras.regularizers.L2(0.3),
    }
    settings = {"attn_heads": 2, "concat_heads": concat_heads, "bias_initializer": "ones"}
    x = rng.normal(size=(6, 4)).astype("float32")
    a = (rng.uniform(size=(6, 6)) < 0.5).astype("float32")
    layer = GATConv(3, **settings, **penalties)
    out = layer([x, a])
    kernel, sender, receiver, bias = layer.get_weights()
    peer = peers_layers.GATConv(3, dropout_rate=0.0, **settings, **penalties)
    as_theirs = [kernel.reshape(4, 2, 3), receiver.T[..., None], sender.T[..., None], bias]
    expected = spektral_output(peer, [x, a], as_theirs)
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sum(layer.losses), sum(peer.losses), rtol=1e-5)
