import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.layers.graph import EdgeConditionedConv
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors

GRAPH = peers.graph("edge_features").unweighted()
E = GRAPH.dense(GRAPH.e)


class TestConformance(GraphLayerTest):
    def test_plain(self):
        self.check(EdgeConditionedConv, weights=4, channels=4, edge_features=2)

    def test_network(self):
        self.check(
            EdgeConditionedConv,
            weights=4,
            channels=4,
            edge_features=2,
            edge_network=keras.layers.Dense(5, "relu"),
            use_self=False,
            use_bias=False,
            aggregation="max",
        )


def layer_of(case, aggregation, **arguments):
    """The layer with PyTorch Geometric's weights; our kernels are the last layer of its network."""
    network = keras.Sequential([keras.layers.Dense(6, "relu")])
    layer = EdgeConditionedConv(4, network, aggregation=aggregation, **arguments)
    layer.build([GRAPH.x.shape, GRAPH.a.shape, E.shape])
    weights = case.weights
    network.set_weights([weights["edge_kernel_1"], weights["edge_bias_1"]])
    layer.kernel.assign(weights["edge_kernel_2"].reshape(6, 5, 4))
    layer.base_kernel.assign(weights["edge_bias_2"].reshape(5, 4))
    layer.self_kernel.assign(weights["self_kernel"])
    layer.bias.assign(weights["bias"])
    return layer


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_equals_pytorch_geometric_in_all_forms(aggregation):
    case = peers.case(f"edge_conditioned/{aggregation}")
    out = assert_forms_agree(layer_of(case, aggregation), GRAPH.x, GRAPH.a, E)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("aggregation", ["sum", "mean", "max", "min", "std"])
def test_equals_the_definition(rng, aggregation):
    """An explicit kernel per edge, in float64; without a network, and without x_i."""
    layer = EdgeConditionedConv(4, use_self=False, aggregation=aggregation, activation="tanh")
    out = assert_forms_agree(layer, GRAPH.x, GRAPH.a, E)
    kernel, base, bias = (ops.convert_to_numpy(w).astype("float64") for w in layer.weights)
    kernels = np.einsum("ijq,qfc->ijfc", E, kernel) + base
    messages = np.einsum("jf,ijfc->ijc", GRAPH.x, kernels)
    expected = np.zeros((12, 4))
    for i, row in enumerate(GRAPH.a):
        if row.any():
            expected[i] = getattr(np, aggregation)(messages[i, row != 0], axis=0)
    np.testing.assert_allclose(out, np.tanh(expected + bias), rtol=1e-5, atol=1e-5)


def test_edge_weights_are_ignored_except_zero():
    case = peers.case("edge_conditioned/sum")
    layer, weighted = layer_of(case, "sum"), case.graph.a
    assert not np.array_equal(weighted, GRAPH.a)
    np.testing.assert_allclose(layer([GRAPH.x, weighted, E]), case.output, rtol=1e-5, atol=1e-5)
    alone = GRAPH.x @ case.weights["self_kernel"] + case.weights["bias"]
    nothing = layer([GRAPH.x, np.zeros_like(weighted), E])
    np.testing.assert_allclose(nothing, alone, rtol=1e-5, atol=1e-5)


def test_order_of_nodes_does_not_matter(rng):
    case, order = peers.case("edge_conditioned/sum"), rng.permutation(12)
    out = layer_of(case, "sum")([GRAPH.x[order], GRAPH.a[order][:, order], E[order][:, order]])
    np.testing.assert_allclose(out, case.output[order], rtol=1e-5, atol=1e-5)


def inputs_of(form):
    e = {"dense": E, "list": np.pad(GRAPH.e, ((0, 3), (0, 0))), "sparse": GRAPH.e}[form]
    return tensors([GRAPH.x, forms(GRAPH.a)[form], e])


@pytest.mark.parametrize("form", ["dense", "list", "sparse"])
def test_half_precision_is_close_to_float32(form):
    case = peers.case("edge_conditioned/sum")
    full = layer_of(case, "sum")
    network = keras.layers.Dense(6, "relu", dtype="mixed_float16")
    half = EdgeConditionedConv(4, network, aggregation="sum", dtype="mixed_float16")
    half(inputs_of(form))
    half.set_weights(full.get_weights())
    out = ops.convert_to_numpy(half(inputs_of(form)))
    assert out.dtype == "float16" and np.isfinite(out).all()
    np.testing.assert_allclose(out, case.output, atol=5e-2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compiles with tf.function")
@pytest.mark.parametrize("form", ["dense", "list"])
def test_compiles_with_xla(form):
    import tensorflow as tf

    case = peers.case("edge_conditioned/mean")
    compiled = tf.function(layer_of(case, "mean"), jit_compile=True)
    np.testing.assert_allclose(compiled(inputs_of(form)), case.output, rtol=1e-5, atol=1e-5)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"\[x, a, e\].*no features"):
        EdgeConditionedConv(2)([np.ones((3, 2)), np.ones((3, 3))])
    with pytest.raises(TypeError, match="`edge_network` must be a Keras layer"):
        EdgeConditionedConv(2, [16])
    with pytest.raises(ValueError, match="`aggregation`"):
        EdgeConditionedConv(2, aggregation="median")
