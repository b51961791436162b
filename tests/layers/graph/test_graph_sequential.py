import warnings

import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import (
    GATConv,
    GCNConv,
    GraphSequential,
    MeanPool,
    MessagePassing,
    NodeMask,
    SumPool,
    TopKPool,
)
from tests.layers.graph import peers
from tests.layers.graph.conformance import forms, tensors


def network():
    return GraphSequential(
        [
            GCNConv(8, normalize=True, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.BatchNormalization(),
            GCNConv(3, normalize=True),
        ]
    )


def test_the_same_network_takes_all_forms_and_sizes(tmp_path):
    model = network()
    graph = peers.graph("undirected")
    expected = model([graph.x, graph.a])
    for form in forms(graph.a).values():
        np.testing.assert_allclose(model(tensors([graph.x, form])), expected, rtol=1e-5, atol=1e-6)
    small = model([graph.x[:4], graph.a[:4, :4]])
    model.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(loaded([graph.x[:4], graph.a[:4, :4]]), small, rtol=1e-6)
    assert [layer.name for layer in loaded.steps] == [layer.name for layer in model.steps]


class Difference(MessagePassing):
    def message(self, x, edges, e=None):
        return e * edges.from_senders(x)


def test_graph_layers_get_the_edge_features():
    graph = peers.graph("edge_features")
    model = GraphSequential([Difference()])
    e = graph.e[:, :1]
    alone = Difference()([graph.x, graph.edges, e])
    i = np.zeros(len(graph.x), "int32")
    np.testing.assert_allclose(model([graph.x, graph.edges, e, i]), alone, rtol=1e-6)


def test_a_nested_network_gets_the_whole_graph(rng, tmp_path):
    inner = [GCNConv(4, normalize=True), keras.layers.LayerNormalization()]
    flat = GraphSequential([*inner, SumPool(), keras.layers.Dense(2)])
    nested = GraphSequential([GraphSequential(inner), *flat.steps[2:]])
    x, a = rng.normal(size=(6, 3)), np.ones((6, 6))
    i, mask = np.array([0, 0, 1, 1, 1, 1]), np.arange(6).reshape(2, 3) % 3 < 2
    batch = [x.reshape(2, 3, 3), np.ones((2, 3, 3)), mask]
    for graph in ([x, a], [x, a, i], batch):
        np.testing.assert_allclose(nested(graph), flat(graph), rtol=1e-6)
    nested.save(tmp_path / "nested.keras")
    loaded = keras.saving.load_model(tmp_path / "nested.keras")
    np.testing.assert_allclose(loaded(batch), flat(batch), rtol=1e-6)
    with_edges = GraphSequential([GraphSequential([Difference()])])
    e = rng.normal(size=(6, 6, 1))
    np.testing.assert_allclose(with_edges([x, a, e]), Difference()([x, a, e]), rtol=1e-6)


def test_layers_get_the_mask(rng):
    x, a = rng.normal(size=(2, 5, 3)), np.ones((2, 5, 5))
    mask = np.array([[True] * 5, [True] * 2 + [False] * 3])
    model = GraphSequential([keras.layers.BatchNormalization(), GCNConv(3)])
    pooled = keras.layers.GlobalAveragePooling1D()(model([x, a, mask]))
    out = np.asarray(model([x, a]))
    np.testing.assert_allclose(pooled[1], out[1, :2].mean(0), rtol=1e-5)
    model.steps[0](NodeMask()([x, mask]), training=True)
    nodes = np.concatenate([x[0], x[1, :2]])
    np.testing.assert_allclose(model.steps[0].moving_mean, 0.01 * nodes.mean(0), rtol=1e-4)


def test_bad_inputs_raise():
    model = network()
    x, a = np.ones((4, 2)), np.ones((4, 4))
    with pytest.raises(ValueError, match=r"`\[x, a\]`"):
        GraphSequential([keras.layers.Dense(2)])([x])
    with pytest.raises(ValueError, match="at most once each"):
        model([x, a, np.zeros(4, "int32"), np.zeros(4, "int32")])
    with pytest.raises(TypeError, match=r"`layers\[0\]` must be a Keras layer"):
        GraphSequential([np.tanh])
    with pytest.raises(TypeError, match=r"`TopKPool` returns a graph.*by hand"):
        GraphSequential([TopKPool(0.5), MeanPool()])


def test_a_mask_in_mixed_mode_is_not_taken_for_edge_features(rng):
    x, a = rng.normal(size=(2, 5, 3)), np.ones((5, 5))
    mask = np.array([[True] * 5, [True] * 2 + [False] * 3])
    for form in (a, graphs.edge_list(a)):
        model = GraphSequential([GCNConv(3), MeanPool()])
        pooled = np.asarray(model([x, form, mask]))
        out = np.asarray(model.steps[0]([x, a]))
        np.testing.assert_allclose(pooled, [out[0].mean(0), out[1, :2].mean(0)], rtol=1e-5)
    with_edges, e = GraphSequential([Difference(), MeanPool()]), rng.normal(size=(5, 5, 1))
    pooled = np.asarray(with_edges([x, a, e, mask]))
    out = np.asarray(with_edges.steps[0]([x, a, e]))
    np.testing.assert_allclose(pooled, [out[0].mean(0), out[1, :2].mean(0)], rtol=1e-5)


@pytest.mark.parametrize("mask", [False, True])
def test_symbolic_shapes_in_mixed_mode(mask, rng):
    """The mask of a batch of graphs on one set of edges is not an edge feature."""
    shapes = [(2, 5, 3), (5, 5)] + [(2, 5)] * mask
    dtypes = ["float32", "float32"] + ["bool"] * mask
    inputs = [
        keras.Input(batch_shape=shape, dtype=dtype)
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    network = GraphSequential([GATConv(4), GCNConv(3), MeanPool()])
    outputs = network(inputs)
    assert outputs.shape == (2, 3) == network.compute_output_shape(shapes)
    # with edge features, an attention layer would have weights for them
    assert len(network.steps[0].weights) == 4
    model = keras.Model(inputs, outputs)
    values = [rng.normal(size=shapes[0]), np.ones(shapes[1]), np.ones((2, 5), bool)]
    assert model(values[: len(shapes)]).shape == (2, 3)


def test_a_mask_of_keras_reaches_the_layers(rng):
    x, a = rng.normal(size=(2, 5, 3)).astype("float32"), np.ones((2, 5, 5), "float32")
    x[1, 2:] = 0
    inputs, edges = keras.Input((5, 3)), keras.Input((5, 5))
    masked = keras.layers.Masking()(inputs)
    network = GraphSequential([keras.layers.Dense(4, bias_initializer="ones"), MeanPool()])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras warns of a mask that a layer drops
        model = keras.Model([inputs, edges], network([masked, edges]))
    h = np.asarray(network.steps[0](x))
    expected = [h[0].mean(axis=0), h[1, :2].mean(axis=0)]
    np.testing.assert_allclose(model([x, a]), expected, rtol=1e-5)
