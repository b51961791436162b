import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import ARMAConv, GCSConv
from tests.layers.graph.conformance import (
    IS_TENSORFLOW,
    GraphLayerTest,
    assert_forms_agree,
    assert_gradients_are_slopes,
    forms,
    spektral_output,
    tensors,
)


class TestConformance(GraphLayerTest):
    def test_gcs(self):
        self.check(GCSConv, weights=3, channels=4, activation="relu")

    def test_gcs_normalize(self):
        self.check(GCSConv, weights=2, channels=2, normalize=True, use_bias=False)

    def test_arma(self):
        settings = {"order": 2, "iterations": 3, "share_weights": True, "dropout_rate": 0.5}
        self.check(ARMAConv, weights=12, channels=4, **settings)


LAYERS = {
    "gcs": lambda **more: GCSConv(4, bias_initializer="uniform", **more),
    "arma": lambda **more: ARMAConv(4, 2, 3, bias_initializer="uniform", **more),
    "arma of shared weights": lambda **more: ARMAConv(
        4, 2, 4, True, "tanh", bias_initializer="uniform", **more
    ),
    "arma of softmax": lambda **more: ARMAConv(4, 2, 2, gcn_activation="softmax", **more),
}


@pytest.fixture
def graph(rng):
    """Node features and an undirected weighted graph with a self-loop and an isolated node."""
    a = rng.uniform(0.5, 2, size=(7, 7)) * (rng.uniform(size=(7, 7)) < 0.5)
    a = np.triu(a) + np.triu(a, 1).T
    a[3] = a[:, 3] = 0
    a[1, 1] = 1.5
    return rng.normal(size=(7, 5)).astype("float32"), a.astype("float32")


def formula(layer, x, a):
    """The paper's, in float64, with weights in the order of the layer."""
    x, a = x.astype("float64"), a.astype("float64")
    root = np.sqrt(np.where(a.sum(1) > 0, a.sum(1), np.inf))
    a = a / root[:, None] / root
    weights = [np.asarray(one, "float64") for one in layer.get_weights()]
    if isinstance(layer, GCSConv):
        first, second, bias = weights
        return a @ x @ first + x @ second + bias
    act = {
        "relu": lambda h: np.maximum(h, 0),
        "tanh": np.tanh,
        "softmax": lambda h: np.exp(h) / np.exp(h).sum(-1, keepdims=True),
    }[layer.gcn_activation.__name__]
    per_stack = len(weights) // layer.order
    outputs = []
    for stack in range(layer.order):
        own = weights[stack * per_stack : (stack + 1) * per_stack]
        h = x
        for t in range(layer.iterations):
            start = 3 * (min(t, 1) if layer.share_weights else t)
            first, second, bias = own[start : start + 3]
            h = act(a @ h @ first + x @ second + bias)
        outputs.append(h)
    return np.mean(outputs, axis=0)


@pytest.mark.parametrize("name", LAYERS)
def test_equals_its_formula_in_all_forms(graph, name):
    x, a = graph
    for settings, given in (({"normalize": True}, a), ({}, GCSConv.preprocess(a))):
        layer = LAYERS[name](**settings)
        out = assert_forms_agree(layer, x, given)
        np.testing.assert_allclose(out, formula(layer, x, a), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ARMAConv.preprocess(a), GCSConv.preprocess(a))


@pytest.mark.skipif(not IS_TENSORFLOW, reason="Spektral needs TensorFlow")
@pytest.mark.parametrize("name", LAYERS)
def test_equals_spektral_with_the_same_weights(graph, name):
    """Weights have the same order."""
    peers = pytest.importorskip("spektral.layers")
    x, a = graph
    layer, given = LAYERS[name](), GCSConv.preprocess(a)
    out = layer([x, given])
    peer = peers.GCSConv(4)
    if isinstance(layer, ARMAConv):
        settings = {"order": 2, "iterations": layer.iterations}
        activation = layer.gcn_activation.__name__
        peer = peers.ARMAConv(
            4, share_weights=layer.share_weights, gcn_activation=activation, **settings
        )
    expected = spektral_output(peer, [x, given], layer.get_weights())
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="gradients are taken with a tape")
@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
@pytest.mark.parametrize("name", ["gcs", "arma of shared weights"])
def test_gradients(graph, name, form):
    x, a = graph
    layer = LAYERS[name](normalize=True, dtype="float64")
    assert_gradients_are_slopes(layer, x, tensors(forms(a)[form]))


def test_dropout_is_that_of_the_skip_connections(graph):
    """Without edges, half of the skipped features are dropped and the others doubled."""
    x = np.ones((500, 1), "float32")
    a = graphs.edge_list(np.zeros((500, 500)), pad_to=3)
    layer = ARMAConv(
        2, dropout_rate=0.5, kernel_initializer="ones", gcn_activation=None, seed=0, order=2
    )
    np.testing.assert_allclose(layer([x, a], training=False), 1)
    values, counts = np.unique(np.asarray(layer([x, a], training=True)), return_counts=True)
    np.testing.assert_allclose(values, [0, 1, 2])  # the mean of two stacks, dropped separately
    np.testing.assert_allclose(counts / 1000, [0.25, 0.5, 0.25], atol=0.08)


def test_sparse_features_equal_dense_ones(graph, rng):
    _, a = graph
    x = (rng.normal(size=(7, 5)) * (rng.uniform(size=(7, 5)) < 0.4)).astype("float32")
    for build in LAYERS.values():
        layer = build(normalize=True)
        out = layer(tensors([graphs.sparse_tensor(x), a]))
        np.testing.assert_allclose(out, layer([x, a]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_half_precision_is_close_to_float32(graph, form):
    x, a = graph
    for build in LAYERS.values():
        half = build(normalize=True, dtype="mixed_float16")
        out = np.asarray(half(tensors([x, forms(a)[form]])))
        assert out.dtype == np.float16
        full = build(normalize=True)
        full.build([x.shape, a.shape])
        full.set_weights(half.get_weights())
        np.testing.assert_allclose(out, full([x, a]), atol=3e-2)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="compiles with tf.function")
def test_compiles_with_xla_and_padded_lists(graph):
    import tensorflow as tf

    x, a = graph
    layer = LAYERS["arma"](normalize=True)
    compiled = tf.function(layer, jit_compile=True)
    out = compiled(tensors([x, forms(a)["list"]]))
    np.testing.assert_allclose(out, layer([x, a]), rtol=1e-5, atol=1e-5)


def test_kernels_start_different_and_bad_arguments_raise():
    layer = ARMAConv(
        4, order=2, iterations=2, kernel_initializer=keras.initializers.GlorotUniform(1)
    )
    layer.build([(3, 4), (3, 3)])
    kernels = [one for one in layer.get_weights() if one.ndim == 2]
    assert len({one.tobytes() for one in kernels}) == len(kernels) == 8
    assert len({one.path for one in layer.weights}) == 12
    for name, value in (("order", 0), ("iterations", 0), ("dropout_rate", 1.0)):
        with pytest.raises(ValueError, match=f"`{name}`"):
            ARMAConv(4, **{name: value})
