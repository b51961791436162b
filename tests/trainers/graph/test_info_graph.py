"""Tests of InfoGraph: its loss in both modes, padding, replicas, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import data, layers, networks, trainers
from keras_ssl.layers.graph import GCNConv, GraphSequential, MeanPool, SumPool
from keras_ssl.trainers.step import Batch
from tests.trainers.case import BAD_GRAPHS, Case
from tests.trainers.graph.graph_batches import (
    disjoint,
    few_graphs,
    padded,
    padded_disjoint,
    singles,
)
from tests.trainers.small import graph_encoder, image_graphs

CASES = {
    "InfoGraph": Case(
        make=lambda: trainers.InfoGraph(graph_encoder(16, 8)),
        x=image_graphs,
        decreasing_loss="loss",
        decrease=0.13,
        sgd=lambda: keras.optimizers.SGD(0.005),  # sums over nodes
        bad_data=BAD_GRAPHS,
    ),
}


def make(**arguments):
    keras.utils.set_random_seed(3)
    encoder = GraphSequential([GCNConv(6, normalize=True), keras.layers.Activation("tanh")])
    return trainers.InfoGraph(**{"encoder": encoder, **arguments})


def loss_of(trainer, graphs):
    losses = trainer.compute_losses(Batch(graphs, graphs), training=False)
    return float(losses["mutual_information"])


def formula(trainer, some):
    """Compute the loss pair by pair in float64."""
    nodes = [np.asarray(trainer.encoder([x, a])) for x, a in singles(some)]
    graphs = np.stack([one.sum(axis=0) for one in nodes])
    phi = [np.asarray(trainer.node_head(one), "float64") for one in nodes]
    psi = np.asarray(trainer.graph_head(graphs), "float64")
    positives = [-np.logaddexp(0, -u @ psi[g]) + np.log(2) for g in range(len(phi)) for u in phi[g]]
    negatives = [
        np.logaddexp(0, u @ v) - np.log(2)
        for g in range(len(phi))
        for u in phi[g]
        for other, v in enumerate(psi)
        if other != g
    ]
    return np.mean(negatives) - np.mean(positives)


def test_loss_matches_the_paper_in_both_modes():
    trainer, some = make(), few_graphs()
    loss_of(trainer, disjoint(some))
    expected = formula(trainer, some)
    assert abs(expected) > 0.01
    for graphs in (padded(some), padded(some, filler=-3.0), disjoint(some)):
        assert loss_of(trainer, graphs) == pytest.approx(expected, rel=1e-4)


def test_graph_indices_may_be_int64():
    # as from Spektral's loaders
    trainer, (x, a, i) = make(), disjoint(few_graphs())
    assert loss_of(trainer, (x, a, tf.cast(i, "int64"))) == loss_of(trainer, (x, a, i))


def test_graphs_of_equal_size_need_no_mask():
    trainer, some = make(), few_graphs((4, 4))
    graphs = tuple(tf.stack(parts) for parts in zip(*singles(some), strict=True))
    found = loss_of(trainer, graphs)
    assert found == pytest.approx(formula(trainer, some), rel=1e-4)


def test_padded_nodes_of_a_union_are_ignored():
    some = few_graphs()
    trainer = make(readout=SumPool(graphs=3))
    loss_of(trainer, disjoint(some))
    found = loss_of(trainer, padded_disjoint(some))
    assert found == pytest.approx(formula(trainer, some), rel=1e-4)


def test_representation_is_the_sum_over_the_nodes():
    trainer, some = make(), few_graphs()
    expected = [np.asarray(trainer.encoder([x, a])).sum(axis=0) for x, a in singles(some)]
    np.testing.assert_allclose(trainer(disjoint(some)), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(trainer(padded(some)), expected, rtol=1e-5, atol=1e-5)
    arrays = tuple(part.numpy() for part in padded(some))
    found = trainer.predict(arrays, batch_size=2, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_padding_has_no_gradient_with_batch_normalization():
    trainer, some = make(encoder=networks.gin((6, 6), seed=0)), few_graphs()
    gradients = []
    for filler in (7.0, 0.0):
        x, a, mask = padded(some, filler=filler)
        with tf.GradientTape() as tape:
            tape.watch(x)
            losses = trainer.compute_losses(Batch((x, a, mask), (x, a, mask)), training=True)
        gradients.append(tape.gradient(losses["mutual_information"], x).numpy())
    assert np.all(gradients[0][~mask.numpy()] == 0)
    np.testing.assert_allclose(*gradients, atol=1e-6)


@pytest.mark.full
def test_two_replicas_train_like_one_with_graphs_of_different_sizes(two_replicas):
    def train():
        trainer = make()
        trainer.compile(keras.optimizers.SGD(0.01))
        logs = trainer.fit(arrays, batch_size=8, epochs=2, verbose=0, shuffle=False).history
        return trainer.get_weights(), logs

    arrays = tuple(part.numpy() for part in padded(few_graphs((2, 3, 2, 4, 8, 7, 6, 8))))
    one, logs = train()
    with two_replicas.scope():
        two, logs_of_two = train()
    for weight, other in zip(one, two, strict=True):
        np.testing.assert_allclose(other, weight, atol=1e-5)
    np.testing.assert_allclose(logs_of_two["loss"], logs["loss"], rtol=1e-4)


@pytest.mark.full
def test_loss_decreases_on_molecules(graph_dir):
    batches = data.disjoint_batches(data.load_graph("mutag", graph_dir), 64, shuffle=True, seed=0)
    trainer = trainers.InfoGraph(networks.gin((8, 8), seed=0))
    trainer.compile(keras.optimizers.Adam(1e-2))
    history = trainer.fit(batches, epochs=8, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
    assert trainer.predict(batches, verbose=0).shape == (188, 16)


def test_defaults_are_those_of_the_paper():
    trainer = trainers.InfoGraph(GCNConv(4))
    assert isinstance(trainer.readout, SumPool)
    assert trainer.node_head.depth == trainer.graph_head.depth == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "gin"}, "`encoder` must be a Keras Layer"),
        ({"readout": "sum"}, "`readout` must be a Keras Layer"),
        ({"node_head": 3}, "`node_head` must be a Keras Layer"),
        ({"graph_head": len}, "`graph_head` must be a Keras Layer"),
        ({"loss": "jsd"}, "`loss` must be a Keras Loss"),
    ],
)
def test_parts_of_the_wrong_type_are_rejected(arguments, message):
    with pytest.raises(TypeError, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "graphs", "message"),
    [
        ({}, singles(few_graphs())[0], "InfoGraph compares graphs.*single graph"),
        ({}, padded(few_graphs((5,))), "at least 2 examples"),
        ({}, disjoint(few_graphs((5,))), "at least 2 graphs.*Received: 1"),
        ({"graph_head": layers.ResidualHead(4)}, padded(few_graphs()), "same width.*6.*4"),
        (
            {"encoder": GraphSequential([GCNConv(6, normalize=True), MeanPool()])},
            padded(few_graphs()),
            "one vector per node",
        ),
    ],
)
def test_unsuitable_data_and_parts_are_rejected_before_training(arguments, graphs, message):
    trainer = make(**arguments)
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=message):
        trainer.fit(tf.data.Dataset.from_tensors((graphs,)), verbose=0)


def test_last_union_of_one_graph_is_rejected_before_training():
    trainer = make()
    trainer.compile("sgd")
    with pytest.raises(ValueError, match="drop_remainder=True"):
        trainer.fit(data.disjoint_batches(few_graphs(), 2), verbose=0)
    batches = data.disjoint_batches(few_graphs(), 2, drop_remainder=True)
    assert np.isfinite(trainer.fit(batches, verbose=0).history["loss"][0])
