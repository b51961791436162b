import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import GatedGraphConv
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors


class TestConformance(GraphLayerTest):
    def test_all_modes(self):
        self.check(GatedGraphConv, weights=5, channels=4, steps=2)

    def test_without_bias(self):
        self.check(GatedGraphConv, weights=3, channels=3, steps=1, use_bias=False)


def built(name):
    """Return a stored case, and the layer with its weights."""
    case = peers.case(f"gated/{name}")
    layer = GatedGraphConv(6, steps=3)
    layer.build([case.graph.x.shape, case.graph.a.shape])
    for kernel, value in zip(layer.kernels, case.weights["kernels"], strict=True):
        kernel.assign(value)
    gru = ("gru_kernel", "gru_recurrent_kernel", "gru_bias")
    layer.cell.set_weights([case.weights[key] for key in gru])
    return case, layer


@pytest.mark.parametrize("name", ["directed", "self_loops"])
def test_equals_pytorch_geometric_in_all_forms(name):
    case, layer = built(name)
    out = assert_forms_agree(layer, case.graph.x, case.graph.a)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


def test_order_of_nodes_and_padding_do_not_matter(rng):
    case, layer = built("self_loops")
    x, a = case.graph.x, case.graph.a
    order = rng.permutation(len(x))
    permuted = layer([x[order], graphs.edge_list(a[order][:, order], pad_to=50)])
    np.testing.assert_allclose(permuted, case.output[order], rtol=1e-5, atol=1e-5)


def test_half_precision_is_finite():
    graph = peers.graph("self_loops")
    layer = GatedGraphConv(6, dtype="mixed_float16")
    for form in forms(graph.a).values():
        out = np.asarray(layer(tensors([100 * graph.x, form])))
        assert out.dtype == np.float16
        assert np.isfinite(out).all()


def test_saved_and_loaded_within_a_model(tmp_path):
    graph = peers.graph("self_loops")
    x, a = keras.Input(batch_shape=(12, 5)), keras.Input(batch_shape=(12, 12))
    model = keras.Model([x, a], GatedGraphConv(6, steps=2, activation="relu")([x, a]))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [graph.x, graph.a]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_compiles_with_padded_lists():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA by tf.function")
    import tensorflow as tf

    case, layer = built("directed")
    edges = graphs.edge_list(case.graph.a, pad_to=40)
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled([case.graph.x, edges]), case.output, rtol=1e-5, atol=1e-5)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match=r"`steps` must be a positive integer.*0"):
        GatedGraphConv(4, steps=0)
    with pytest.raises(ValueError, match=r"at least the number of node features, 5.*channels=4"):
        GatedGraphConv(4)([np.ones((3, 5)), np.eye(3)])
