import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import graphs
from keras_ssl.layers.graph import GCNConv, SparseDropout
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"


class TestConformance(GraphLayerTest):
    def test_preprocessed(self):
        self.check(GCNConv, weights=2, channels=4, activation="relu")

    def test_normalize(self):
        self.check(GCNConv, weights=1, channels=4, normalize=True, use_bias=False)


def layer_of(case, **arguments):
    layer = GCNConv(case.output.shape[-1], **arguments)
    layer.build([case.graph.x.shape, case.graph.a.shape])
    layer.set_weights([case.weights["kernel"], case.weights["bias"]])
    return layer


PEERS = ["directed", "undirected", "unweighted", "self_loops", "union"]


@pytest.mark.parametrize("name", PEERS)
def test_equals_pytorch_geometric_in_all_forms(name):
    case = peers.case(f"gcn/{name}")
    graph = case.graph.unweighted() if name == "unweighted" else case.graph
    out = assert_forms_agree(layer_of(case, normalize=True), graph.x, graph.a)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PEERS)
def test_preprocessing_equals_normalizing_in_each_call(name):
    case = peers.case(f"gcn/{name}")
    graph = case.graph.unweighted() if name == "unweighted" else case.graph
    out = assert_forms_agree(layer_of(case), graph.x, GCNConv.preprocess(graph.a))
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)
    sparse = graphs.sparse_tensor(GCNConv.preprocess(graph.sparse))
    out = layer_of(case)(tensors([graph.x, sparse]))
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


def test_without_normalization_it_is_a_matrix_product():
    case = peers.case("gcn/not_normalized")
    out = layer_of(case)([case.graph.x, case.graph.a])
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="gradients are taken with a tape")
@pytest.mark.parametrize("form", ["dense", "list"])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_equal_pytorch_geometric(form, compiled):
    """Also compiled by XLA, and for a padded edge list."""
    import tensorflow as tf

    case = peers.case("gcn/directed")
    layer = layer_of(case, normalize=True)
    x = tf.constant(case.graph.x)
    given = tensors(forms(case.graph.a)[form])

    @tf.function(jit_compile=compiled)
    def gradients(x, given):
        with tf.GradientTape() as tape:
            tape.watch([x, given])
            total = tf.reduce_sum(layer([x, given]) * case.more["probe"])
        weights = given["weights"] if form == "list" else given
        return tape.gradient(total, [x, layer.kernel.value, layer.bias.value, weights])

    *found, of_weights = gradients(x, given)
    for one, name in zip(found, ("x", "kernel", "bias"), strict=True):
        np.testing.assert_allclose(one, case.gradients[name], rtol=1e-4, atol=1e-5)
    senders, receivers = case.graph.edges["senders"], case.graph.edges["receivers"]
    on_edges = (
        of_weights[: len(senders)] if form == "list" else of_weights.numpy()[receivers, senders]
    )
    np.testing.assert_allclose(on_edges, case.gradients["weights"], rtol=1e-4, atol=1e-5)


def test_sparse_features_equal_dense_ones(rng):
    x = (rng.normal(size=(12, 5)) * (rng.uniform(size=(12, 5)) < 0.3)).astype("float32")
    a = peers.graph("undirected").a
    layer = GCNConv(3, normalize=True)
    dense = layer([x, a])
    for form in forms(a).values():
        out = layer(tensors([graphs.sparse_tensor(x), form]))
        np.testing.assert_allclose(out, dense, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["dense", "list", "sparse"])
def test_isolated_nodes_and_half_precision_stay_finite(form):
    graph = peers.graph("directed")
    layer = GCNConv(3, normalize=True, dtype="mixed_float16")
    out = ops.convert_to_numpy(layer(tensors([graph.x, forms(graph.a)[form]])))
    assert out.dtype == "float16" and np.isfinite(out).all()
    full = GCNConv(3, normalize=True)
    full.build([graph.x.shape, graph.a.shape])
    full.set_weights(layer.get_weights())
    np.testing.assert_allclose(out, full([graph.x, graph.a]), atol=2e-2)


def test_dropout_of_sparse_features_drops_stored_values(rng):
    x = (rng.uniform(size=(300, 40)) < 0.2).astype("float32")
    sparse = graphs.sparse_tensor(x)
    layer = SparseDropout(0.6, seed=1)
    dropped = layer(sparse, training=True)
    if IS_TENSORFLOW:
        values = dropped.values.numpy()
        np.testing.assert_array_equal(dropped.indices, sparse.indices)
    else:
        values = np.asarray(dropped.data)
    assert set(np.unique(values)) == {0.0, np.float32(1 / 0.4)}
    assert abs((values == 0).mean() - 0.6) < 5 * np.sqrt(0.24 / len(values))
    assert layer(sparse, training=False) is sparse
    assert np.unique(np.asarray(layer(x, training=True))).size == 2


@pytest.mark.parametrize("channels", [0, -1, 2.0, True])
def test_channels_must_be_a_positive_integer(channels):
    error = ValueError if type(channels) is int else TypeError
    with pytest.raises(error, match="`channels` must be a positive integer"):
        GCNConv(channels)


def test_the_activation_is_the_second_argument_as_in_dense_and_spektral():
    layer = GCNConv(2, "relu")
    assert layer.activation is keras.activations.relu
    assert not layer.normalize
    with pytest.raises(TypeError):
        GCNConv(2, "relu", True)


def test_other_aggregations_raise():
    with pytest.raises(ValueError, match=r"`aggregation` must be one of \('sum',\)"):
        GCNConv(2, aggregation="max")
