import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.layers.graph import ContinuousFilterConv, RadialBasis, shifted_softplus
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors

CASE = peers.case("cf_conv")
GRAPH = CASE.graph.unweighted()
DISTANCES = GRAPH.dense(GRAPH.distances[:, None])


class TestConformance(GraphLayerTest):
    def test_default(self):
        self.check(ContinuousFilterConv, weights=7, channels=4, edge_features=1)

    def test_own_networks_and_cutoff(self):
        self.check(
            ContinuousFilterConv,
            weights=4,
            channels=4,
            edge_features=1,
            filters=5,
            filter_network=keras.layers.Dense(5),
            radial_basis=RadialBasis(7, stop=3.0, gamma=2.0),
            cutoff=3.0,
            use_bias=False,
            activation="relu",
        )

    def test_radial_basis(self):
        self.run_layer_test(
            RadialBasis,
            init_kwargs={"centers": 6, "start": -1.0, "stop": 3.0},
            input_shape=(4, 3, 1),
            expected_output_shape=(4, 3, 6),
            expected_num_trainable_weights=0,
        )


@pytest.fixture
def layer():
    """The layer with PyTorch Geometric's weights."""
    layer = ContinuousFilterConv(
        4, filters=6, radial_basis=RadialBasis(7, stop=4.0), cutoff=float(CASE.more["cutoff"])
    )
    layer.build([GRAPH.x.shape, GRAPH.a.shape, DISTANCES.shape])
    weights = CASE.weights
    layer.filter_network.set_weights(
        [weights[f"filter_{name}"] for name in ("kernel_1", "bias_1", "kernel_2", "bias_2")]
    )
    for name in ("in_kernel", "out_kernel"):
        getattr(layer, name).assign(weights[name])
    layer.bias.assign(weights["out_bias"])
    return layer


def test_equals_pytorch_geometric_in_all_forms(layer):
    out = assert_forms_agree(layer, GRAPH.x, GRAPH.a, DISTANCES)
    np.testing.assert_allclose(out, CASE.output, rtol=1e-5, atol=1e-5)


def test_radial_functions_equal_pytorch_geometric():
    expanded = RadialBasis(7, stop=4.0)(GRAPH.distances[:, None])
    np.testing.assert_allclose(expanded, CASE.more["expanded"], rtol=1e-5, atol=1e-6)


def test_radial_functions_equal_the_formula():
    d = np.array([[0.0], [0.35], [7.0]])
    expected = np.exp(-10 * (d - [1.0, 1.5, 2.0, 2.5, 3.0]) ** 2)
    out = RadialBasis(5, 1.0, 3.0, gamma=10.0)(d)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-7)


def test_shifted_softplus_equals_the_formula():
    x = np.linspace(-5, 5, 11)
    expected = np.log(0.5 * np.exp(x) + 0.5)
    np.testing.assert_allclose(shifted_softplus(x), expected, rtol=1e-5, atol=1e-6)


def test_the_filter_is_zero_beyond_the_cutoff(layer):
    inside = np.array([[3.99], [3.9]])
    beyond = np.array([[4.0], [4.5], [8.0], [1e6]])
    assert 0 < abs(ops.convert_to_numpy(layer.filter(inside))).max() < 0.05
    np.testing.assert_array_equal(layer.filter(beyond), 0)


def test_edge_weights_are_ignored_except_zero(layer):
    weighted = CASE.graph
    assert not np.array_equal(weighted.a, GRAPH.a)
    out = layer([weighted.x, weighted.a, DISTANCES])
    np.testing.assert_allclose(out, CASE.output, rtol=1e-5, atol=1e-5)
    nothing = layer([weighted.x, np.zeros_like(weighted.a), DISTANCES])
    np.testing.assert_allclose(nothing, np.tile(CASE.weights["out_bias"], (12, 1)), atol=1e-6)


def test_order_of_nodes_does_not_matter(layer, rng):
    order = rng.permutation(12)
    out = layer([GRAPH.x[order], GRAPH.a[order][:, order], DISTANCES[order][:, order]])
    np.testing.assert_allclose(out, CASE.output[order], rtol=1e-5, atol=1e-5)


def listed(form):
    inputs = [GRAPH.x, forms(GRAPH.a)[form], GRAPH.distances[:, None]]
    if form == "dense":
        inputs[2] = DISTANCES
    if form == "list":
        inputs[2] = np.pad(inputs[2], ((0, 3), (0, 0)))
    return tensors(inputs)


@pytest.mark.parametrize("form", ["dense", "list", "sparse"])
def test_half_precision_is_close_to_float32(layer, form):
    half = ContinuousFilterConv(
        4, 6, radial_basis=RadialBasis(7, stop=4.0), cutoff=4.0, dtype="mixed_float16"
    )
    inputs = listed(form)
    half(inputs)
    half.set_weights(layer.get_weights())
    out = ops.convert_to_numpy(half(inputs))
    assert out.dtype == "float16" and np.isfinite(out).all()
    np.testing.assert_allclose(out, CASE.output, atol=5e-2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compiles with tf.function")
@pytest.mark.parametrize("form", ["dense", "list"])
def test_compiles_with_xla(layer, form):
    import tensorflow as tf

    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled(listed(form)), CASE.output, rtol=1e-5, atol=1e-5)


def test_bad_arguments_raise():
    x, a = np.ones((3, 2)), np.ones((3, 3))
    with pytest.raises(ValueError, match=r"\[x, a, distances\].*no features"):
        ContinuousFilterConv(2)([x, a])
    with pytest.raises(ValueError, match=r"one per edge.*2 features"):
        ContinuousFilterConv(2)([x, a, np.ones((3, 3, 2))])
    with pytest.raises(ValueError, match=r"`filter_network` must return 5 filters.*returns 4"):
        network = keras.layers.Dense(4)
        ContinuousFilterConv(2, 5, filter_network=network)([x, a, np.ones((3, 3, 1))])
    with pytest.raises(ValueError, match="`filters` must be a positive integer"):
        ContinuousFilterConv(2, filters=0)
    with pytest.raises(ValueError, match="`cutoff`"):
        ContinuousFilterConv(2, cutoff=0.0)
    with pytest.raises(TypeError, match="`filter_network` must be a Keras layer"):
        ContinuousFilterConv(2, filter_network=lambda x: x)
    with pytest.raises(TypeError, match="`radial_basis` must be a Keras layer"):
        ContinuousFilterConv(2, radial_basis=50)
    with pytest.raises(ValueError, match="`centers` must be an integer of at least 2"):
        RadialBasis(1)
    with pytest.raises(ValueError, match="`stop` must be greater"):
        RadialBasis(5, 1.0, 1.0)
    with pytest.raises(ValueError, match="`gamma`"):
        RadialBasis(5, gamma=-1.0)
    with pytest.raises(ValueError, match="Distances must have shape"):
        RadialBasis()(np.ones((3, 2)))
