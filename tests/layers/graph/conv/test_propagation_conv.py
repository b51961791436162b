import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import APPNPConv, DiffusionConv, GCNConv, SimpleGCN
from tests.layers.graph.conformance import (
    IS_TENSORFLOW,
    GraphLayerTest,
    assert_forms_agree,
    assert_gradients_are_slopes,
    forms,
    tensors,
)


class TestConformance(GraphLayerTest):
    def test_simple_gcn(self):
        self.check(SimpleGCN, weights=2, channels=4, K=3)

    def test_appnp(self):
        settings = {"propagations": 3, "mlp_hidden": [5], "dropout_rate": 0.5, "normalize": True}
        self.check(APPNPConv, weights=4, channels=4, **settings)

    def test_diffusion(self):
        self.check(DiffusionConv, weights=1, channels=4, K=2)

    def test_diffusion_in_both_directions(self):
        settings = {"bidirectional": True, "normalize": True, "use_bias": True}
        self.check(DiffusionConv, weights=3, channels=2, K=2, **settings)


def simple(channels=4, **more):
    return SimpleGCN(channels, K=3, bias_initializer="uniform", **more)


def appnp(channels=4, **more):
    return APPNPConv(
        channels, 0.1, 10, mlp_hidden=[6, 5], mlp_activation="tanh", activation="elu", **more
    )


def diffusion(channels=4, **more):
    return DiffusionConv(channels, K=3, use_bias=True, bias_initializer="uniform", **more)


@pytest.fixture
def graph(rng):
    """Node features and a directed weighted graph with a self-loop and an isolated node."""
    a = rng.uniform(0.5, 2, size=(7, 7)) * (rng.uniform(size=(7, 7)) < 0.4)
    a[3] = a[:, 3] = 0
    a[1, 1] = 1.5
    return rng.normal(size=(7, 3)).astype("float32"), a.astype("float32")


def normalized(a):
    """With self-loops for nodes that have none."""
    a = a.astype("float64") + np.diag(a.diagonal() == 0)
    root = np.sqrt(a.sum(1))
    return a / root[:, None] / root


def transition(a):
    a = a.astype("float64")
    return a / np.where(a.sum(1) > 0, a.sum(1), 1)[:, None]


def weights_of(layer):
    return [np.asarray(one, "float64") for one in layer.get_weights()]


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_simple_gcn_equals_its_formula_in_all_forms(graph, channels):
    """Few or many channels choose the order of products."""
    x, a = graph
    for settings, given in (({"normalize": True}, a), ({}, SimpleGCN.preprocess(a))):
        layer = simple(channels, **settings)
        out = assert_forms_agree(layer, x, given)
        kernel, bias = weights_of(layer)
        expected = np.linalg.matrix_power(normalized(a), 3) @ x @ kernel + bias
        np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
        once = SimpleGCN.propagate_features(x, a, K=3)
        np.testing.assert_allclose(once @ kernel + bias, expected, rtol=1e-4, atol=1e-5)


def test_simple_gcn_is_gcn_without_activations(graph):
    x, a = graph
    layer, first, second = SimpleGCN(3, K=2), GCNConv(3), GCNConv(3)
    a = SimpleGCN.preprocess(a)
    out = layer([x, a])
    for one, kernel in ((first, np.eye(3)), (second, layer.get_weights()[0])):
        one.build([x.shape, a.shape])
        one.set_weights([kernel, np.zeros(3)])
    np.testing.assert_allclose(second([first([x, a]), a]), out, rtol=1e-4, atol=1e-5)


def test_appnp_equals_its_formula_in_all_forms(graph):
    x, a = graph
    for settings, given in (({"normalize": True}, a), ({}, APPNPConv.preprocess(a))):
        layer = appnp(**settings)
        out = assert_forms_agree(layer, x, given)
        w_1, b_1, w_2, b_2, w_3, b_3 = weights_of(layer)
        start = np.tanh(np.tanh(x @ w_1 + b_1) @ w_2 + b_2) @ w_3 + b_3
        h = start
        for _ in range(10):
            h = 0.9 * normalized(a) @ h + 0.1 * start
        np.testing.assert_allclose(out, np.where(h > 0, h, np.expm1(h)), rtol=1e-4, atol=1e-5)


def test_many_steps_of_appnp_are_personalized_page_rank(graph):
    """The closed form of the paper: α (I - (1 - α) Â)^-1 Z_0."""
    x, a = graph
    layer = APPNPConv(4, alpha=0.2, propagations=150, normalize=True)
    out = layer([x, a])
    kernel, bias = weights_of(layer)
    expected = np.linalg.solve(np.eye(7) - 0.8 * normalized(a), 0.2 * (x @ kernel + bias))
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("channels", [2, 5])
def test_diffusion_equals_its_formula_in_all_forms(graph, channels, bidirectional):
    x, a = graph
    layer = diffusion(channels, bidirectional=bidirectional, normalize=True)
    out = assert_forms_agree(layer, x, a)
    kernels, *back, bias = weights_of(layer)
    total = sum(np.linalg.matrix_power(transition(a), k) @ x @ w for k, w in enumerate(kernels))
    for kernel in back:
        powers = (np.linalg.matrix_power(transition(a.T), k + 1) for k in range(len(kernel)))
        total = total + sum(power @ x @ w for power, w in zip(powers, kernel, strict=True))
    np.testing.assert_allclose(out, np.tanh(total + bias), rtol=1e-4, atol=1e-5)
    if not bidirectional:
        plain = diffusion(channels)
        plain.build([x.shape, a.shape])
        plain.set_weights(layer.get_weights())
        out = assert_forms_agree(plain, x, DiffusionConv.preprocess(a))
        np.testing.assert_allclose(out, np.tanh(total + bias), rtol=1e-4, atol=1e-5)
        stacked = DiffusionConv.preprocess(np.stack([a, a]))
        np.testing.assert_allclose(stacked[1], transition(a), rtol=1e-6)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="Spektral needs TensorFlow")
def test_appnp_equals_spektral_with_the_same_weights(graph):
    peers = pytest.importorskip("spektral.layers")
    x, a = graph
    layer, given = appnp(), APPNPConv.preprocess(a)
    out = layer([x, given])
    peer = peers.APPNPConv(4, 0.1, 10, mlp_hidden=[6, 5], mlp_activation="tanh", activation="elu")
    peer.build([x.shape, given.shape])
    peer.mlp.build(x.shape)
    peer.mlp.set_weights(layer.get_weights())
    np.testing.assert_allclose(out, peer.call(tensors([x, given])), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="gradients are taken with a tape")
@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
@pytest.mark.parametrize("build", [simple, appnp, diffusion])
def test_gradients(graph, build, form):
    x, a = graph
    more = {"bidirectional": True} if build is diffusion else {}
    layer = build(normalize=True, dtype="float64", **more)
    assert_gradients_are_slopes(layer, x, tensors(forms(a)[form]))


def test_dropout_of_appnp_is_that_of_the_hidden_layers(graph):
    layer = APPNPConv(
        1, 0.5, 1, [1], None, dropout_rate=0.5, kernel_initializer="ones", use_bias=False, seed=0
    )
    x, a = np.ones((400, 1), "float32"), graphs.edge_list(np.eye(400))
    np.testing.assert_allclose(layer([x, a], training=False), 1)
    dropped = np.asarray(layer([x, a], training=True))
    np.testing.assert_allclose(np.unique(dropped), [0, 2])
    assert abs(dropped.mean() - 1) < 5 / np.sqrt(400)


@pytest.mark.parametrize("build", [simple, diffusion])
def test_sparse_features_equal_dense_ones(rng, build):
    x = (rng.normal(size=(7, 9)) * (rng.uniform(size=(7, 9)) < 0.4)).astype("float32")
    a = (rng.uniform(size=(7, 7)) < 0.5).astype("float32")
    for channels in (4, 12):
        layer = build(channels, normalize=True)
        dense = layer([x, a])
        for form in forms(a).values():
            out = layer(tensors([graphs.sparse_tensor(x), form]))
            np.testing.assert_allclose(out, dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [simple, appnp, diffusion])
def test_half_precision_is_close_to_float32(graph, build):
    x, a = graph
    for form in forms(a).values():
        half = build(normalize=True, dtype="mixed_float16")
        out = np.asarray(half(tensors([x, form])))
        assert out.dtype == np.float16
        full = build(normalize=True)
        full.build([x.shape, a.shape])
        full.set_weights(half.get_weights())
        np.testing.assert_allclose(out, full([x, a]), atol=3e-2)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="compiles with tf.function")
@pytest.mark.parametrize("build", [simple, appnp, diffusion])
def test_compiles_with_xla_and_padded_lists(graph, build):
    import tensorflow as tf

    x, a = graph
    layer = build(normalize=True)
    compiled = tf.function(layer, jit_compile=True)
    out = compiled(tensors([x, forms(a)["list"]]))
    np.testing.assert_allclose(out, layer([x, a]), rtol=1e-5, atol=1e-5)


def test_regularizers_and_bad_arguments(graph):
    x, a = graph
    layer = APPNPConv(4, mlp_hidden=[5], kernel_regularizer=keras.regularizers.L2(0.1))
    layer([x, a])
    expected = sum(0.1 * np.square(one).sum() for one in layer.get_weights() if one.ndim == 2)
    np.testing.assert_allclose(sum(layer.losses), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="`K`"):
        SimpleGCN(4, K=0)
    with pytest.raises(ValueError, match=r"`alpha`.*Received: alpha=1.5"):
        APPNPConv(4, alpha=1.5)
    with pytest.raises(ValueError, match="`mlp_hidden`"):
        APPNPConv(4, mlp_hidden=[0])
    with pytest.raises(ValueError, match="`bidirectional=True` needs `normalize=True`"):
        DiffusionConv(4, bidirectional=True)
