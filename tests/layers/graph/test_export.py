"""Networks on graphs are exported for graphs of any size, in every form of the adjacency."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, data, graphs, networks, trainers
from keras_ssl.layers.graph import (
    EdgeConditionedConv,
    GCNConv,
    GraphSequential,
    MeanPool,
)

if keras.backend.backend() != "tensorflow":
    pytest.skip("a TensorFlow SavedModel", allow_module_level=True)

import tensorflow as tf


def graph_of(rng, n, **parts):
    a = (rng.uniform(size=(n, n)) < 0.5) * rng.uniform(0.5, 2, size=(n, n))
    return graphs.Graph(rng.normal(size=(n, 4)), a, **parts)


def inputs_of(graph, form):
    return list(next(iter(data.single_graph(graph, adjacency=form)))[0])


@pytest.fixture
def model():
    return GraphSequential([GCNConv(5, "relu", normalize=True), GCNConv(2, normalize=True)])


@pytest.mark.parametrize(
    ("form", "with_example"),
    [("sparse", True), ("edges", True), ("edges", False), ("dense", True), ("dense", False)],
)
def test_single_graphs_of_another_size(rng, model, form, with_example, tmp_path):
    first, other = (inputs_of(graph_of(rng, n), form) for n in (6, 9))
    model(first)
    model.export(tmp_path, verbose=False, input_signature=first if with_example else None)
    served = tf.saved_model.load(tmp_path)
    for inputs in (first, other):
        np.testing.assert_allclose(served.serve(inputs), model(inputs), rtol=1e-5, atol=1e-6)
    signature = served.signatures["serving_default"].structured_input_signature[1]
    # of a sparse tensor: indices, values and shape
    assert len(signature) == {"sparse": 4, "edges": 4, "dense": 2}[form]


def test_a_graph_as_example_is_sparse(rng, model, tmp_path):
    graph = graph_of(rng, 6)
    expected = model(graph)
    model.export(tmp_path, verbose=False, input_signature=graph)
    served = tf.saved_model.load(tmp_path)
    out = served.serve(inputs_of(graph, "sparse"))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_sparse_features(rng, tmp_path):
    import scipy.sparse

    graph = graph_of(rng, 6)
    graph = graphs.Graph(scipy.sparse.csr_array(graph.x * (graph.x > 0)), graph.a)
    model = networks.gcn((3,), classes=2)
    expected = model(graph)
    model.export(tmp_path, verbose=False, input_signature=graph)
    served = tf.saved_model.load(tmp_path)
    out = served.serve(inputs_of(graph, "sparse"))
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "with_example"), [("sparse", True), ("edges", True), ("edges", False)]
)
def test_unions_with_edge_features(rng, form, with_example, tmp_path):
    members = [graph_of(rng, n) for n in (4, 5, 3)]
    members = [graphs.Graph(g.x, g.a, rng.normal(size=(g.edges, 2)), y=0) for g in members]
    model = GraphSequential([EdgeConditionedConv(5, activation="relu"), MeanPool()])
    batches = [list(x) for x, _ in data.disjoint_batches(members, 2, adjacency=form)]
    model(batches[0])
    model.export(tmp_path, verbose=False, input_signature=batches[0] if with_example else None)
    served = tf.saved_model.load(tmp_path)
    for batch in batches:
        np.testing.assert_allclose(served.serve(batch), model(batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("with_example", [True, False])
def test_padded_batches(rng, with_example, tmp_path):
    members = [graph_of(rng, n, y=0) for n in (4, 5, 3)]
    model = GraphSequential([GCNConv(5, "relu", normalize=True), MeanPool()])
    batches = [list(x) for n in (5, 8) for x, _ in data.padded_batches(members, 2, nodes=n)]
    model(batches[0])
    model.export(tmp_path, verbose=False, input_signature=batches[0] if with_example else None)
    served = tf.saved_model.load(tmp_path)
    for batch in batches:
        np.testing.assert_allclose(served.serve(batch), model(batch), rtol=1e-5, atol=1e-6)


def test_a_loaded_network_and_specs_as_in_keras(rng, model, tmp_path):
    first, other = (inputs_of(graph_of(rng, n), "dense") for n in (6, 9))
    model(first)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    spec = keras.InputSpec(shape=(None, None), dtype="float32")
    x = keras.InputSpec(shape=(None, 4), dtype="float32")
    loaded.export(tmp_path / "specs", verbose=False, input_signature=[[x, spec]])
    served = tf.saved_model.load(tmp_path / "specs")
    np.testing.assert_allclose(served.serve(other), model(other), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_exported_raises(rng, model, tmp_path):
    graph = graph_of(rng, 6)
    with pytest.raises(ValueError, match="built"):
        model.export(tmp_path, verbose=False)
    model(graph)
    with pytest.raises(ValueError, match=r"edge_list\(a\).*Received: format='litert'"):
        model.export(tmp_path / "model.tflite", format="litert", input_signature=graph)


@pytest.mark.few(1)
@pytest.mark.parametrize("form", ["sparse", "edges", "dense"])
def test_trainers_take_the_form_of_their_data(rng, form, tmp_path):
    first, other = (graph_of(rng, n) for n in (6, 9))
    for make in (
        trainers.DGI,
        lambda encoder: trainers.BGRL(
            encoder, augment=augment.graph.GraphViews([augment.graph.RandomFeatureMask(0.3)])
        ),
    ):
        trainer = make(networks.gcn((3,)))
        trainer.compile("adam", jit_compile=False)
        trainer.fit(data.single_graph(first, adjacency=form), verbose=0)
        trainer.export(tmp_path, verbose=False)
        served = tf.saved_model.load(tmp_path)
        inputs = inputs_of(other, form)
        np.testing.assert_allclose(served.serve(inputs), trainer(inputs), rtol=1e-5, atol=1e-6)
    trainer.export(tmp_path / "sparse", verbose=False, input_signature=other)
    served = tf.saved_model.load(tmp_path / "sparse")
    out = served.serve(inputs_of(first, "sparse"))
    np.testing.assert_allclose(out, trainer(first), rtol=1e-5, atol=1e-6)
