"""Evaluation and its callbacks on graphs in every mode."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, callbacks, data, evaluate, graphs, trainers
from keras_ssl.layers.graph import GCNConv, GraphSequential, MeanPool, MessagePassing, SumPool
from tests.conftest import IS_TENSORFLOW
from tests.trainers.graph.graph_batches import few_graphs

# JAX has no sparse tensors here
FORM = "sparse" if IS_TENSORFLOW else "edges"
on_tensorflow = pytest.mark.skipif(not IS_TENSORFLOW, reason="sparse tensors need TensorFlow")


@pytest.fixture
def nodes():
    keras.utils.set_random_seed(0)
    return GraphSequential([GCNConv(3, normalize=True)])


@pytest.fixture
def club():
    return data.load_graph("karate_club")


@pytest.fixture
def members():
    some = few_graphs((5, 3, 6, 4, 5, 6))
    return [graphs.Graph(one.x, one.a, y=number % 2) for number, one in enumerate(some)]


@pytest.mark.parametrize("form", [pytest.param("sparse", marks=on_tensorflow), "edges", "dense"])
def test_features_of_the_nodes_of_one_graph(nodes, club, form):
    batches = data.single_graph(club, adjacency=form)
    features, labels = evaluate.extract_features(nodes, batches)
    np.testing.assert_allclose(features, nodes([club.x, club.a.toarray()]), atol=1e-5)
    np.testing.assert_array_equal(labels, club.y)
    assert 0 <= evaluate.knn_accuracy(nodes, batches, batches, k=3) <= 1


@on_tensorflow
def test_sparse_features_stay_sparse(nodes, club):
    x = graphs.sparse_tensor(club.x)
    dataset = tf.data.Dataset.from_tensors(((x, graphs.sparse_tensor(club.a)), club.y))
    features, _ = evaluate.extract_features(nodes, dataset)
    np.testing.assert_allclose(features, nodes([club.x, club.a.toarray()]), atol=1e-5)


@pytest.mark.parametrize(
    "arguments", [{"adjacency": FORM}, {"adjacency": "edges", "static_shapes": True}]
)
def test_features_of_graphs_in_a_union(members, arguments):
    keras.utils.set_random_seed(0)
    encoder = GraphSequential([GCNConv(3, normalize=True), MeanPool(graphs=3)])
    batches = data.disjoint_batches(members, 3, **arguments)
    features, labels = evaluate.extract_features(encoder, batches)
    expected, _ = evaluate.extract_features(encoder, data.padded_batches(members, 2))
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_array_equal(labels, [0, 1, 0, 1, 0, 1])


def test_features_of_nodes_in_a_union_have_no_labels_of_graphs(nodes, members):
    batches = data.disjoint_batches(members, 3, adjacency=FORM)
    with pytest.raises(ValueError, match="14 rows for 3 examples"):
        evaluate.extract_features(nodes, batches)
    features, labels = evaluate.extract_features(nodes, batches.map(lambda x, y: (x,)))
    assert features.shape == (29, 3)
    assert labels is None


def test_callbacks_measure_one_graph(nodes, club):
    batches = data.single_graph(club, adjacency=FORM)
    trainer = trainers.DGI(nodes)
    trainer.compile(keras.optimizers.SGD(0.1))
    monitors = [callbacks.CollapseMonitor(batches), callbacks.KNNCallback(batches, batches, k=3)]
    history = trainer.fit(batches, verbose=0, callbacks=monitors).history
    features = trainer.predict(batches, verbose=0)
    expected = evaluate.feature_std(features).mean()
    np.testing.assert_allclose(history["feature_std"][0], expected, rtol=1e-4)
    np.testing.assert_allclose(
        history["knn_accuracy"][0],
        evaluate.knn_accuracy(trainer, batches, batches, k=3),
        rtol=1e-6,
    )


def test_collapse_is_measured_on_the_given_number_of_nodes(nodes, club):
    batches = data.single_graph(club, adjacency=FORM)
    trainer = trainers.DGI(nodes)
    trainer.compile(keras.optimizers.SGD(0.0))
    monitor = callbacks.CollapseMonitor(batches, examples=10)
    history = trainer.fit(batches, verbose=0, callbacks=[monitor]).history
    features = trainer.predict(batches, verbose=0)[:10]
    expected = evaluate.feature_std(features).mean()
    np.testing.assert_allclose(history["feature_std"][0], expected, rtol=1e-4)


def test_callbacks_measure_graphs_of_a_union(nodes, members):
    batches = data.disjoint_batches(members, 3, adjacency=FORM)
    trainer = trainers.InfoGraph(nodes, SumPool(graphs=3))
    trainer.compile(keras.optimizers.SGD(0.01))
    monitors = [callbacks.CollapseMonitor(batches), callbacks.KNNCallback(batches, batches, k=3)]
    history = trainer.fit(batches, verbose=0, callbacks=monitors).history
    assert history["feature_std"][0] > 0
    assert 0 <= history["knn_accuracy"][0] <= 1


@pytest.mark.parametrize("modes", ["single", "batch"])
def test_collapse_is_watched_in_projections_of_nodes(nodes, club, modes):
    views = augment.graph.GraphViews([augment.graph.RandomEdgeDrop(0.2, seed=0)])
    trainer = trainers.GRACE(nodes, projector=keras.layers.Dense(4), augment=views)
    trainer.compile(keras.optimizers.SGD(0.01))
    batches = data.single_graph(club, adjacency=FORM)
    if modes == "batch":
        x, a = (np.stack([one, one.T] * 2) for one in (club.x, club.a.toarray()))
        x[1::2] *= -1.0
        batches = tf.data.Dataset.from_tensor_slices(((x, a),)).batch(2)
    history = trainer.fit(batches, verbose=0, callbacks=[callbacks.CollapseMonitor(batches)])
    assert 0 < history.history["projection_spread"][0] <= 1


def test_features_of_the_seeds_of_neighbor_batches(club):
    """One row per seed, equal to that on the whole graph, whatever fills the batches."""
    encoder = GraphSequential([MessagePassing("mean")])
    small = graphs.Graph(club.x, club.a, y=club.y)
    whole = np.asarray(encoder([club.x, club.a.toarray()]))
    batches = data.neighbor_batches(small, np.arange(9), [17], 4)
    features, labels = evaluate.extract_features(encoder, batches)
    np.testing.assert_allclose(features, whole[:9], atol=1e-5)
    np.testing.assert_array_equal(labels, club.y[:9])
    monitor = callbacks.CollapseMonitor(batches)
    trainer = trainers.DGI(encoder)
    trainer.compile(keras.optimizers.SGD(0.0))
    history = trainer.fit(
        data.single_graph(small, adjacency=FORM), verbose=0, callbacks=[monitor]
    ).history
    expected = evaluate.feature_std(whole[:9]).mean()
    np.testing.assert_allclose(history["feature_std"][0], expected, rtol=1e-4)


def test_padded_graphs_have_no_features(members):
    encoder = GraphSequential([GCNConv(3, normalize=True), MeanPool(graphs=4)])
    expected, _ = evaluate.extract_features(encoder, data.padded_batches(members, 2))
    batches = data.disjoint_batches(members, 4, adjacency="edges", static_shapes=True)
    features, labels = evaluate.extract_features(encoder, batches)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_array_equal(labels, [0, 1, 0, 1, 0, 1])
    features, labels = evaluate.extract_features(encoder, batches.map(lambda x, y, w: (x,)))
    np.testing.assert_allclose(features, expected, atol=1e-5)
    nodes = GraphSequential([GCNConv(3, normalize=True)])
    features, _ = evaluate.extract_features(nodes, batches.map(lambda x, y, w: (x,)))
    assert len(features) == sum(one.nodes for one in members)
