import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers import ProjectionHead
from keras_ssl.layers.graph import GINConv, NodeMask
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors


def perceptron(*widths):
    return ProjectionHead(widths, normalization=False)


class TestConformance(GraphLayerTest):
    def test_learned_epsilon(self):
        self.check(GINConv, weights=5, outputs=4, mlp=perceptron(6, 4))

    def test_fixed_epsilon(self):
        settings = {"epsilon": 0.5, "learn_epsilon": False, "activation": "relu"}
        self.check(GINConv, weights=2, outputs=4, mlp=keras.layers.Dense(4), **settings)


@pytest.fixture
def case():
    return peers.case("gin")._replace(graph=peers.case("gin").graph.unweighted())


@pytest.fixture
def layer(case):
    layer = GINConv(perceptron(6, 4))
    layer.build([case.graph.x.shape, case.graph.a.shape])
    assert layer.weights[0].name == "epsilon"
    names = ("epsilon", "kernel_1", "bias_1", "kernel_2", "bias_2")
    layer.set_weights(
        [case.weights[n].reshape(w.shape) for n, w in zip(names, layer.weights, strict=True)]
    )
    return layer


def test_equals_pytorch_geometric_in_all_forms(case, layer):
    out = assert_forms_agree(layer, case.graph.x, case.graph.a)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_gradients_equal_pytorch_geometric(case, layer, form):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients by tf.GradientTape")
    import tensorflow as tf

    x = tf.Variable(case.graph.x)
    with tf.GradientTape() as tape:
        out = layer([tf.convert_to_tensor(x), forms(case.graph.a)[form]])
        loss = tf.reduce_sum(out * case.more["probe"])
    names = ("x", "epsilon", "kernel_1", "bias_1", "kernel_2", "bias_2")
    found = tape.gradient(loss, [x, *(weight.value for weight in layer.weights)])
    for name, gradient in zip(names, found, strict=True):
        expected = case.gradients[name].reshape(gradient.shape)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=2e-5, err_msg=name)


def test_edge_weights_scale_messages(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    a = rng.uniform(size=(4, 4)).astype("float32")
    layer = GINConv(keras.layers.Identity(), epsilon=0.5)
    np.testing.assert_allclose(layer([x, a]), 1.5 * x + a @ x, rtol=1e-5, atol=1e-5)


def test_a_sum_distinguishes_neighborhoods_that_a_mean_does_not():
    # one or two equal neighbors
    x = np.ones((5, 1), "float32")
    edges = {"senders": np.array([1, 3, 4]), "receivers": np.array([0, 2, 2])}
    of_sum = np.asarray(GINConv(keras.layers.Identity())([x, edges]))
    of_mean = np.asarray(GINConv(keras.layers.Identity(), aggregation="mean")([x, edges]))
    assert of_sum[0] != of_sum[2]
    assert of_mean[0] == of_mean[2]


def test_order_of_nodes_and_padding_do_not_matter(case, layer, rng):
    x, a = case.graph.x, case.graph.a
    order = rng.permutation(len(x))
    permuted = layer([x[order], graphs.edge_list(a[order][:, order], pad_to=50)])
    np.testing.assert_allclose(permuted, case.output[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalization", [True, False])
def test_padding_is_excluded_from_batch_statistics(rng, normalization):
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    a = np.ones((2, 4, 4), "float32")
    mask = np.array([[True] * 4, [True] * 2 + [False] * 2])
    a *= mask[:, :, None] * mask[:, None, :]
    layer = GINConv(ProjectionHead((5, 5), normalization), activation="relu")
    layer.build([x.shape, a.shape])
    garbage = np.where(mask[..., None], x, 100.0)
    outs = []
    for features in (x, garbage):
        out = layer([NodeMask()([features, mask]), a], training=True)
        np.testing.assert_array_equal(out._keras_mask, mask)
        outs.append(np.asarray(out)[mask])
    np.testing.assert_allclose(*outs, rtol=1e-5, atol=1e-5)


def test_half_precision_is_finite(case):
    layer = GINConv(perceptron(6, 4), dtype="mixed_float16")
    for form in forms(case.graph.a).values():
        out = np.asarray(layer(tensors([10 * case.graph.x, form])))
        assert out.dtype == np.float16
        assert np.isfinite(out).all()


def test_saved_and_loaded_within_a_model(case, tmp_path):
    x, a = keras.Input(batch_shape=(12, 5)), keras.Input(batch_shape=(12, 12))
    mlp = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.BatchNormalization()])
    model = keras.Model([x, a], GINConv(mlp, epsilon=0.25)([x, a]))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [case.graph.x, case.graph.a]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_compiles_with_padded_lists(case, layer):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA by tf.function")
    import tensorflow as tf

    edges = graphs.edge_list(case.graph.a, pad_to=40)
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled([case.graph.x, edges]), case.output, rtol=1e-5, atol=1e-5)


def test_bad_arguments_raise():
    with pytest.raises(TypeError, match="`mlp` must be a Keras layer"):
        GINConv(16)
    with pytest.raises(TypeError, match=r"epsilon.*'learned'"):
        GINConv(keras.layers.Dense(2), epsilon="learned")
