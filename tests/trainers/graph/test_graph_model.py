"""Tests of `GraphModel` and `GraphInput` with a minimal method."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import data, graphs, networks, trainers
from keras_ssl.trainers.graph import GraphModel
from keras_ssl.trainers.graph.graph_input import GraphInput
from tests.layers.graph.conformance import forms


class Denoising(GraphModel):
    """Reconstructs the features of nodes."""

    input_kind = GraphInput(needs_edges=True, needs_symmetry=True)

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(encoder, **kwargs)
        self.decoder = decoder

    def compute_losses(self, batch, training):
        x, a, *_ = batch.x
        h = self.encoder([x, a], training=training)
        return {"reconstruction": keras.ops.square(self.decoder(h) - x), "representation": h}


def method(**compile_arguments):
    trainer = Denoising(networks.gcn((8,), dropout=0.0, seed=0), keras.layers.Dense(2))
    trainer.compile(optimizer=keras.optimizers.SGD(0.5), **compile_arguments)
    return trainer


@pytest.fixture
def club():
    import networkx

    a = networkx.to_numpy_array(networkx.karate_club_graph(), weight=None).astype("float32")
    degree = a.sum(1, keepdims=True)
    return np.concatenate([degree, np.sqrt(degree)], 1) / 10, a


def repeated(x, a, *others):
    given = keras.tree.map_structure(
        lambda one: tf.convert_to_tensor(one) if isinstance(one, np.ndarray) else one,
        ((x, a), *others),
    )
    return tf.data.Dataset.from_tensors(given).repeat(10)


def test_training_is_the_same_for_every_form_of_the_adjacency(club):
    x, a = club
    results = {}
    for name, form in forms(a).items():
        keras.utils.set_random_seed(0)
        trainer = method()
        history = trainer.fit(repeated(x, form), epochs=2, verbose=0).history
        assert history["loss"][1] < 0.9 * history["loss"][0]
        results[name] = trainer.get_weights()
    for weights in results.values():
        for one, other in zip(weights, results["dense"], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_sparse_tensors_disable_xla_with_a_warning(club):
    x, a = club
    trainer = method(jit_compile=True)
    with pytest.warns(UserWarning, match="XLA has no products with sparse tensors"):
        history = trainer.fit(repeated(x, graphs.sparse_tensor(a)), verbose=0).history
    assert np.isfinite(history["loss"][0])
    listed = method(jit_compile=True)
    assert np.isfinite(listed.fit(repeated(x, graphs.edge_list(a)), verbose=0).history["loss"][0])
    assert listed.jit_compile


@pytest.mark.full
def test_probe_learns_from_the_nodes_of_the_split(club):
    """Weights are those of the probe; the labels of other nodes are neither seen nor counted."""
    x, a = club
    y = (np.arange(34) > 16).astype("int32")
    weights = np.where(np.arange(34) % 3 == 0, 34 / 12, 0.0).astype("float32")
    results = []
    for labels in (y, np.where(weights > 0, y, 1 - y)):
        keras.utils.set_random_seed(0)
        trainer = method(probe=trainers.OnlineProbe(2))
        history = trainer.fit(repeated(x, a, labels, weights), epochs=3, verbose=0).history
        results.append([history["probe_loss"], history["probe_accuracy"], *trainer.probe.weights])
        logits = np.asarray(trainer.probe(trainer.predict(repeated(x, a), verbose=0)))[:34]
        known = weights > 0
        logs = trainer.evaluate(repeated(x, a, labels, weights), verbose=0, return_dict=True)
        accuracy = np.mean(np.argmax(logits, axis=1)[known] == y[known])
        assert logs["probe_accuracy"] == pytest.approx(accuracy)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_probe_learns_from_labels_of_nodes_with_and_without_weights(club):
    x, a = club
    y = (np.arange(34) > 16).astype("int32")
    trainer = method(probe=trainers.OnlineProbe(2))
    history = trainer.fit(repeated(x, a, y, np.ones(34, "float32")), verbose=0).history
    assert 0 <= history["probe_accuracy"][0] <= 1


def test_replicas_share_graphs_and_probe_nodes_in_batch_mode(club, two_replicas):
    x, a = (np.stack([one] * 8) for one in club)
    y = np.tile(np.arange(34) > 16, (8, 1)).astype("int32")
    with two_replicas.scope():
        trainer = method(probe=trainers.OnlineProbe(2, by_position=True))
    history = trainer.fit((x, a), y, batch_size=4, verbose=0).history
    assert np.isfinite(history["probe_loss"][0])


def test_single_graph_is_not_shared_among_replicas(club, two_replicas):
    with two_replicas.scope():
        trainer = method()
    union = data.disjoint_batches([graphs.Graph(*club)] * 4, 2)
    for batches in (repeated(*club), union):
        with pytest.raises(ValueError, match="cannot be shared among 2 replicas"):
            trainer.fit(batches, verbose=0)


def without(edge, a):
    changed = a.copy()
    changed[edge] = 0
    return changed


def out_of_range(a):
    return graphs.edge_list(a) | {"senders": np.full(156, 34, "int32")}


def sparse_out_of_range():
    return tf.SparseTensor([[0, 1], [1, 34]], [1.0, 1.0], [34, 34])


def in_floats(a):
    return {name: part.astype("float32") for name, part in graphs.edge_list(a).items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, a: (np.where(x > 1, np.nan, x), a), "`x` must hold finite"),
        (lambda x, a: (x, np.where(a > 0, np.inf, a)), "`a` must hold finite"),
        (lambda x, a: (x, 0 * a), "must hold an edge"),
        (lambda x, a: (x, without((0, 1), a)), "must be symmetric"),
        (lambda x, a: (x, graphs.sparse_tensor(without((0, 1), a))), "must be symmetric"),
        (lambda x, a: (x, out_of_range(a)), "`senders` must be integers from 0 to 33"),
        (lambda x, a: (x, sparse_out_of_range()), r"`a` must hold its entries.*\(34, 34\)"),
        (lambda x, a: (x, in_floats(a)), "`receivers` must be integers.*float32"),
        (lambda x, a: (x[:-1], a), "33 nodes.*adjacency of 34"),
        (lambda x, a: (x, a[:-1]), "square"),
    ],
)
def test_graphs_with_bad_values_are_rejected(club, change, message):
    trainer = method()
    bad = repeated(*change(*club))
    with pytest.raises(ValueError, match=message):
        trainer.fit(bad, verbose=0)
    with pytest.raises(ValueError, match=f"In `validation_data`: .*{message}"):
        trainer.fit(repeated(*club), validation_data=bad, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


@pytest.mark.parametrize(
    ("i", "message"),
    [
        (np.zeros(33, "int32"), r"`i`.*length 34.*\(33,\)"),
        (np.arange(34)[::-1] // 17, "`i`.*ascending"),
        (np.array([0, -1] + [1] * 32), "`i`.*-1 for padding at the end only"),
        (np.array([0] * 10 + [2] * 24), "`i`.*empty graph.*no node of graph 1"),
        (np.ones(34, "int32"), "`i`.*empty graph.*no node of graph 0"),
    ],
)
def test_graph_indices_that_are_not_a_union_are_rejected(club, i, message):
    x, a = club
    with pytest.raises(ValueError, match=message):
        method().fit(tf.data.Dataset.from_tensors(((x, a, i),)), verbose=0)
    union = np.array([0] * 10 + [1] * 20 + [-1] * 4)
    method().fit(tf.data.Dataset.from_tensors(((x, a, union),)), verbose=0)


def test_boolean_adjacency_is_accepted(club):
    x, a = club
    trainer = trainers.GAE(networks.gcn((8,), dropout=0.0, seed=0))
    trainer.compile(keras.optimizers.SGD(0.0))
    losses = [trainer.fit(repeated(x, one), verbose=0).history["loss"] for one in (a, a > 0)]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    with pytest.raises(ValueError, match="must be symmetric"):
        trainer.fit(repeated(x, np.triu(a) > 0), verbose=0)


def test_edge_features_are_checked(club):
    x, a = club
    graph = (x, graphs.edge_list(a), np.full((156, 1), np.nan, "float32"))
    with pytest.raises(ValueError, match="`e` must hold finite numbers"):
        method().fit(tf.data.Dataset.from_tensors((graph,)), verbose=0)


def test_validation_arrays_are_checked(club):
    x, a = (np.stack([one] * 4) for one in club)
    trainer = method()
    trainer.fit((x, a), validation_data=((x, a),), verbose=0)
    steps = int(trainer.optimizer.iterations)
    for bad, message in (
        (((x * np.nan, a),), "`x` must hold finite"),
        ((x, a), "data of graphs"),  # Keras treats `a` as labels
        ((club, None), r"data\.single_graph"),
    ):
        with pytest.raises(ValueError, match=f"In `validation_data`: .*{message}"):
            trainer.fit((x, a), validation_data=bad, verbose=0)
    assert int(trainer.optimizer.iterations) == steps


def test_features_that_are_not_numbers_are_rejected(club):
    x, a = (np.stack([one] * 4) for one in club)
    with pytest.raises(TypeError, match=r"`x` must hold numbers.*U"):
        method().fit((x.astype(str), a), verbose=0)


def test_single_graph_as_arrays_is_rejected(club):
    for call in (method().fit, method().evaluate, method().predict):
        with pytest.raises(ValueError, match=r"data\.single_graph"):
            call(club, verbose=0)


def test_data_that_is_not_a_graph_is_rejected(club):
    x, a = club
    # without labels, the pair must be wrapped once more
    with pytest.raises(ValueError, match=r"`\(\(x, a\),\)`"):
        method().fit(tf.data.Dataset.from_tensors((x, a)), verbose=0)
    with pytest.raises(ValueError, match="data of graphs"):
        method().fit(np.ones((64, 3)), verbose=0)


def test_fit_evaluate_and_predict_take_a_graph():
    graph = data.load_graph("karate_club")
    graph = dataclasses.replace(graph, x=graph.x[:, :2])
    batch = data.single_graph(graph)
    found = []
    for given in (graph, batch):
        keras.utils.set_random_seed(0)
        trainer = method()
        trainer.fit(given, epochs=3, validation_data=given, shuffle=False, verbose=0)
        losses = trainer.history.history | trainer.evaluate(given, verbose=0, return_dict=True)
        found.append((losses, trainer.predict(given, verbose=0)))
    (ours, h), (theirs, wanted) = found
    assert ours == theirs
    np.testing.assert_array_equal(h, wanted)


@pytest.mark.full
def test_fit_evaluate_and_predict_take_loaders_of_spektral(club):
    spektral = pytest.importorskip("spektral")

    class Clubs(spektral.data.Dataset):
        def read(self):
            x, a = club
            return [spektral.data.Graph(x=x, a=a, y=np.ones(1))] * 6

    for loader in (spektral.data.BatchLoader, spektral.data.DisjointLoader):
        trainer = method()
        history = trainer.fit(
            loader(Clubs(), batch_size=2),
            epochs=2,
            verbose=0,
            validation_data=loader(Clubs(), batch_size=3),
        ).history
        assert history["val_loss"][1] < history["val_loss"][0]
        assert int(trainer.optimizer.iterations) == 6
        assert np.isfinite(
            trainer.evaluate(loader(Clubs(), batch_size=3), verbose=0, return_dict=True)["loss"]
        )
        vectors = trainer.predict(loader(Clubs(), batch_size=3, shuffle=False), verbose=0)
        batch = isinstance(loader(Clubs(), batch_size=3), spektral.data.BatchLoader)
        assert vectors.shape == ((6, 34, 8) if batch else (6 * 34, 8))
