import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import GraphSAGEConv, GraphSequential, LSTMNeighbors, MessagePassing
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors


def pooling():
    return GraphSequential([keras.layers.Dense(5, "relu"), MessagePassing("max")])


AGGREGATIONS = {
    "mean": lambda: "mean",
    "max": lambda: "max",
    "max_pool": pooling,
    "lstm": lambda: LSTMNeighbors(5, max_neighbors=4),
}


class TestConformance(GraphLayerTest):
    def test_mean(self):
        self.check(GraphSAGEConv, weights=3, channels=4, l2_normalize=True)

    def test_mean_of_projected_features(self):
        self.check(GraphSAGEConv, weights=3, channels=2)

    def test_pooling(self):
        self.check(GraphSAGEConv, weights=5, channels=4, aggregation=pooling())

    def test_lstm(self):
        lstm = LSTMNeighbors(4, max_neighbors=3)
        self.check(GraphSAGEConv, weights=5, channels=2, use_bias=False, aggregation=lstm)


def built(name, aggregation, **arguments):
    """Return a stored case, and the layer with its weights."""
    case = peers.case(f"sage/{name}")
    case = case._replace(graph=case.graph.unweighted())
    layer = GraphSAGEConv(4, aggregation, **arguments)
    layer.build([case.graph.x.shape, case.graph.a.shape])
    for key in ("self_kernel", "neighbors_kernel", "bias"):
        getattr(layer, key).assign(case.weights[key])
    rest = [value for key, value in case.weights.items() if key.startswith(("pool", "lstm"))]
    layer.aggregator.set_weights(rest)
    return case, layer


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_equals_pytorch_geometric_in_all_forms(name):
    case, layer = built(name, AGGREGATIONS[name]())
    out = assert_forms_agree(layer, case.graph.x, case.graph.a)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


def test_unit_length_outputs_equal_pytorch_geometric():
    case, layer = built("mean_l2", "mean", l2_normalize=True)
    out = assert_forms_agree(layer, case.graph.x, case.graph.a)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["mean", "max", "max_pool"])
def test_order_of_nodes_and_padding_do_not_matter(name, rng):
    case, layer = built(name, AGGREGATIONS[name]())
    x, a = case.graph.x, case.graph.a
    order = rng.permutation(len(x))
    permuted = layer([x[order], graphs.edge_list(a[order][:, order], pad_to=50)])
    np.testing.assert_allclose(permuted, case.output[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_isolated_nodes_and_half_precision_are_finite(name):
    _, layer = built(name, AGGREGATIONS[name]())
    x = 50 * np.ones((3, 5), "float32")
    out = layer([x, np.zeros((3, 3), "float32")])
    expected = x @ np.asarray(layer.self_kernel) + np.asarray(layer.bias)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-4)
    half = GraphSAGEConv(4, AGGREGATIONS[name](), l2_normalize=True, dtype="mixed_float16")
    for form in forms(np.eye(3)).values():
        out = np.asarray(half(tensors([x, form])))
        assert out.dtype == np.float16
        assert np.isfinite(out).all()


@pytest.mark.parametrize("channels", [4, 12])
def test_sparse_features(rng, channels):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("sparse features are TensorFlow's here")
    x = rng.normal(size=(6, 9)).astype("float32") * (rng.uniform(size=(6, 9)) < 0.3)
    a = (rng.uniform(size=(6, 6)) < 0.5).astype("float32")
    layer = GraphSAGEConv(channels)
    out = layer(tensors([graphs.sparse_tensor(x), a]))
    np.testing.assert_allclose(out, layer([x, a]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_saved_and_loaded_within_a_model(name, tmp_path):
    case = peers.case(f"sage/{name}")
    x, a = keras.Input(batch_shape=(12, 5)), keras.Input(batch_shape=(12, 12))
    model = keras.Model([x, a], GraphSAGEConv(4, AGGREGATIONS[name]())([x, a]))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [case.graph.x, case.graph.a]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_compiles_with_padded_lists(name):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA by tf.function")
    import tensorflow as tf

    case, layer = built(name, AGGREGATIONS[name]())
    edges = graphs.edge_list(case.graph.a, pad_to=40)
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled([case.graph.x, edges]), case.output, rtol=1e-5, atol=1e-5)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"aggregation.*'median'"):
        GraphSAGEConv(4, "median")
    with pytest.raises(ValueError, match="channels"):
        GraphSAGEConv(-1)
