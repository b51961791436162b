"""Tests of Deep Graph Infomax: its loss in every mode, parts, errors."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from keras_ssl import augment, data, layers, trainers
from keras_ssl.layers.graph import GCNConv, GraphSequential, MeanPool
from keras_ssl.trainers.step import Batch
from tests.trainers.case import BAD_GRAPHS, Case
from tests.trainers.graph.graph_batches import (
    disjoint,
    few_graphs,
    padded,
    padded_disjoint,
    singles,
)
from tests.trainers.small import graph_encoder, image_graphs, node_labels

CASES = {
    "DGI": Case(
        make=lambda: trainers.DGI(
            graph_encoder(16, 8), corruption=augment.graph.FeatureShuffle(seed=0)
        ),
        x=image_graphs,
        decreasing_loss="loss",
        decrease=0.08,
        epochs=20,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        bad_data=BAD_GRAPHS,
        probed=node_labels,
    ),
}


@keras.saving.register_keras_serializable(package="tests")
class Halve(keras.layers.Layer):
    """A deterministic corruption."""

    def call(self, graph, training=False):
        return (keras.ops.abs(graph[0]) / 2, *graph[1:])


def make(**arguments):
    keras.utils.set_random_seed(3)
    encoder = GraphSequential([GCNConv(6, normalize=True), keras.layers.Activation("tanh")])
    parts = {"encoder": encoder, "corruption": Halve(), **arguments}
    return trainers.DGI(**parts)


def loss_of(trainer, graph):
    """Return the mean loss of a batch."""
    values = trainer.compute_losses(Batch(graph, graph), training=False)["infomax"]
    return float(tf.reduce_mean(values))


def formula(trainer, x, a, summary=lambda z: 1 / (1 + np.exp(-z))):
    """Compute equation 1 of the paper for one graph in float64."""
    h = np.asarray(trainer.encoder([x, a]), "float64")
    corrupted = np.asarray(trainer.encoder([tf.abs(x) / 2, a]), "float64")
    s = summary(h.mean(axis=0))
    w = np.asarray(trainer.critic.kernel, "float64")
    real, fake = (1 / (1 + np.exp(-(one @ w @ s))) for one in (h, corrupted))
    return -(np.log(real).sum() + np.log(1 - fake).sum()) / (len(real) + len(fake))


def test_loss_matches_the_paper_in_every_mode():
    trainer, some = make(), few_graphs()
    trainer.compute_losses(Batch(singles(some)[0], singles(some)[0]), training=False)
    trainer.critic.kernel.assign(3 * trainer.critic.kernel)  # moves the loss away from log 2
    expected = [formula(trainer, x, a) for x, a in singles(some)]
    assert max(expected) - min(expected) > 0.01 and abs(np.mean(expected) - np.log(2)) > 0.01
    for graph, value in zip(singles(some), expected, strict=True):
        assert loss_of(trainer, graph) == pytest.approx(value, rel=1e-5)
    for graphs in (padded(some), padded(some, filler=-3.0), disjoint(some)):
        assert loss_of(trainer, graphs) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("activation", "summary"), [(None, lambda z: z), ("relu", lambda z: z * (z > 0))]
)
def test_summary_activation(activation, summary):
    trainer, (graph,) = make(summary_activation=activation), few_graphs((9,))
    x, a = singles([graph])[0]
    loss_of(trainer, (x, a))
    trainer.critic.kernel.assign(3 * trainer.critic.kernel)
    expected = formula(trainer, x, a, summary)
    assert loss_of(trainer, (x, a)) == pytest.approx(expected, rel=1e-5)
    assert abs(expected - formula(trainer, x, a)) > 1e-3


def test_padded_graphs_and_nodes_are_ignored():
    trainer, some = make(readout=MeanPool(graphs=4)), few_graphs()
    trainer.compute_losses(Batch(disjoint(some), disjoint(some)), training=False)
    expected = np.mean([formula(trainer, x, a) for x, a in singles(some)])
    # three graphs where there is room for four; padded nodes belong to graph 3, then to none
    x, a, i = padded_disjoint(some)
    assert loss_of(trainer, (x, a, tf.where(i == 3, 4, i))) == pytest.approx(expected, rel=1e-5)


def test_padding_has_no_gradient():
    trainer, some = make(), few_graphs()
    x, a, mask = padded(some)
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = trainer.compute_losses(Batch((x, a, mask), (x, a, mask)), training=True)
        loss = tf.reduce_mean(values["infomax"])
    gradient = tape.gradient(loss, x).numpy()
    assert np.all(gradient[~mask.numpy()] == 0) and np.all(np.any(gradient[mask.numpy()], axis=1))


def test_step_follows_the_gradient_of_the_formula():
    trainer, (graph,) = make(), few_graphs((9,))
    x, a = singles([graph])[0]
    trainer.compile(keras.optimizers.SGD(0.1))
    trainer.fit(tf.data.Dataset.from_tensors(((x, a),)), epochs=0, verbose=0)
    kernel = trainer.critic.kernel
    before = kernel.numpy()
    expected = np.zeros_like(before, "float64")
    for place in np.ndindex(before.shape):
        sides = []
        for step in (1e-3, -1e-3):
            moved = before.copy()
            moved[place] += step
            kernel.assign(moved)
            sides.append(formula(trainer, x, a))
        expected[place] = (sides[0] - sides[1]) / 2e-3
    kernel.assign(before)
    trainer.fit(tf.data.Dataset.from_tensors(((x, a),)), verbose=0)
    np.testing.assert_allclose((before - kernel.numpy()) / 0.1, expected, atol=1e-4)


def test_sparse_and_dense_features_train_alike():
    club = data.load_graph("karate_club")
    weights = []
    for x in (club.x, scipy.sparse.csr_array(club.x)):
        trainer = make(corruption=augment.graph.FeatureShuffle(seed=0))
        trainer.compile(keras.optimizers.Adam(1e-2))
        whole = data.single_graph(dataclasses.replace(club, x=x))
        history = trainer.fit(whole.repeat(20), epochs=6, verbose=0).history
        assert history["loss"][-1] < 0.92 * history["loss"][0]
        assert trainer.predict(whole, verbose=0).shape == (34, 6)
        weights.append(trainer.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_representation_predicts_classes_of_cora_better_after_training(graph_dir):
    from sklearn.linear_model import LogisticRegression

    cora = data.load_graph("cora", graph_dir)
    cora = dataclasses.replace(cora, a=GCNConv.preprocess(cora.a))
    encoder = GraphSequential([GCNConv(32), keras.layers.ReLU()])
    trainer = trainers.DGI(encoder)
    trainer.compile(keras.optimizers.Adam(1e-2))
    whole = data.single_graph(cora)
    train, test = cora.splits["train"], cora.splits["test"]

    def accuracy():
        features = trainer.predict(whole, verbose=0)
        probe = LogisticRegression(max_iter=1000).fit(features[train], cora.y[train])
        return probe.score(features[test], cora.y[test])

    before = accuracy()
    trainer.fit(whole.repeat(20), epochs=3, verbose=0)
    assert accuracy() > before + 0.15  # 0.23 to 0.42 in ten runs


def test_parts_are_replaceable():
    trainer = make(
        readout=layers.graph.AttentionPool(),
        summary_activation=None,
        critic=layers.EncodeAndDotProduct(8, normalization=False),
    )
    x, a, mask = (part.numpy() for part in padded(few_graphs()))
    trainer.compile("adam")
    assert np.isfinite(trainer.fit((x, a, mask), batch_size=3, verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "gcn"}, "`encoder` must be a Keras Layer"),
        ({"corruption": len}, "`corruption` must be a Keras Layer"),
        ({"readout": "mean"}, "`readout` must be a Keras Layer"),
        ({"critic": 3}, "`critic` must be a Keras Layer"),
        ({"augment": "drop"}, "augment"),
    ],
)
def test_parts_that_are_not_layers_are_rejected(arguments, message):
    with pytest.raises(TypeError, match=message):
        make(**arguments)


def test_encoder_that_pools_nodes_is_rejected_before_training():
    trainer = make(encoder=GraphSequential([GCNConv(6, normalize=True), MeanPool()]))
    trainer.compile("sgd")
    x, a, mask = (part.numpy() for part in padded(few_graphs()))
    with pytest.raises(ValueError, match=r"one vector per node.*without pooling"):
        trainer.fit((x, a, mask), batch_size=3, verbose=0)


def test_augmentation_that_returns_views_is_rejected():
    views = augment.graph.GraphViews([augment.graph.RandomEdgeDrop(0.2)])
    trainer = make(augment=views)
    trainer.compile("sgd")
    x, a, mask = (part.numpy() for part in padded(few_graphs()))
    with pytest.raises(ValueError, match="Expected data of graphs"):
        trainer.fit((x, a, mask), batch_size=3, verbose=0)
