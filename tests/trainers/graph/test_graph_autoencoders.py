"""Tests of GAE and VGAE: their loss in all forms and modes, random pairs, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import data, evaluate, layers, trainers
from keras_ssl.layers.graph import GCNConv, GraphSequential, MeanPool
from keras_ssl.trainers.step import Batch
from tests.layers.graph.conformance import forms
from tests.trainers.case import BAD_GRAPHS, Case
from tests.trainers.graph.small_graphs import encoder, graph, joined, losses_of, padded
from tests.trainers.small import graph_encoder, image_graphs, node_labels

CASES = {
    "GAE": Case(
        make=lambda: trainers.GAE(graph_encoder(16, 8)),
        x=image_graphs,
        decreasing_loss="loss",
        decrease=0.055,
        bad_data=BAD_GRAPHS,
        probed=node_labels,
    ),
    "VGAE": Case(
        make=lambda: trainers.VGAE(
            graph_encoder(16), graph_encoder(8), layers.graph.GCNConv(8, normalize=True), seed=0
        ),
        x=image_graphs,
        decreasing_loss="reconstruction",
        decrease=0.5,
        bad_data=BAD_GRAPHS,
        probed=node_labels,
    ),
}


def vgae(width=3, **arguments):
    return trainers.VGAE(
        encoder(4), GCNConv(width, normalize=True), GCNConv(width, normalize=True), **arguments
    )


def loss_of_the_paper(z, a, i=None):
    """Compute the weighted cross entropy of the authors' code; A has ones on its diagonal."""
    z = np.asarray(z, "float64")
    pairs = [
        (z[j] @ z[k], a[j, k] != 0 or j == k)
        for j in range(len(z))
        for k in range(len(z))
        if i is None or i[j] == i[k]
    ]
    total, edges = len(pairs), sum(is_edge for _, is_edge in pairs)
    weight, norm = (total - edges) / edges, total / (2 * (total - edges))
    p = [(1 / (1 + np.exp(-logit)), is_edge) for logit, is_edge in pairs]
    return norm / total * sum(-weight * np.log(q) if e else -np.log(1 - q) for q, e in p)


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_loss_matches_the_paper_in_every_form(form):
    x, a = graph(0)
    trainer = trainers.GAE(encoder())
    found = losses_of(trainer, x, forms(a)[form])
    expected = loss_of_the_paper(found["representation"], a)
    np.testing.assert_allclose(found["reconstruction"], [expected], rtol=1e-5)
    # a normalized adjacency has the same edges
    again = losses_of(trainer, x, forms(a + 2 * np.eye(7, dtype="float32"))[form])
    expected = loss_of_the_paper(again["representation"], a)
    np.testing.assert_allclose(again["reconstruction"], [expected], rtol=1e-5)


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_pairs_of_a_union_are_within_graphs(form):
    x, a, i = joined(graph(0), graph(1, nodes=4))
    found = losses_of(trainers.GAE(encoder()), x, forms(a)[form], i)
    expected = loss_of_the_paper(found["representation"], a, i)
    np.testing.assert_allclose(found["reconstruction"], [expected], rtol=1e-5)
    assert not np.isclose(expected, loss_of_the_paper(found["representation"], a), rtol=1e-3)


@pytest.mark.parametrize("make", [lambda: trainers.GAE(encoder()), vgae], ids=["GAE", "VGAE"])
def test_batch_has_one_loss_per_graph_without_padding(make, monkeypatch):
    monkeypatch.setattr(keras.random, "normal", lambda shape, **_: tf.ones(shape))
    one, other = graph(0), graph(1, nodes=4)
    trainer = make()
    batch = losses_of(trainer, *padded(one, other, nodes=9))
    singles = [losses_of(trainer, *g) for g in (one, other)]
    for name in set(batch) - {"representation"}:
        expected = np.concatenate([single[name] for single in singles])
        np.testing.assert_allclose(batch[name], expected, rtol=1e-5)
    union = losses_of(trainer, *joined(one, one))
    for name in set(batch) - {"representation"}:
        np.testing.assert_allclose(union[name], singles[0][name], rtol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("is_union", [False, True], ids=["single", "disjoint"])
def test_random_pairs_estimate_the_loss_of_all_pairs(is_union):
    x, a, i = joined(graph(0, nodes=12), graph(1, nodes=5))
    graph_of_node = (i,) if is_union else ()
    sampled = trainers.GAE(encoder(), negatives_per_edge=2, seed=0)
    everything = trainers.GAE(sampled.encoder)
    for form in ("sparse", "list"):
        expected = losses_of(everything, x, forms(a)[form], *graph_of_node)["reconstruction"]
        values = [
            losses_of(sampled, x, forms(a)[form], *graph_of_node)["reconstruction"][0]
            for _ in range(100)
        ]
        error = np.std(values) / np.sqrt(len(values))
        assert 0 < error < 0.08 * expected[0]
        assert abs(np.mean(values) - expected[0]) < 4 * error


def test_divergence_and_samples_match_the_normal_distribution():
    x, a = graph(0)
    trainer = vgae(seed=0)
    mean, log_std = (np.asarray(one, "float64") for one in trainer.distribution([x, a]))
    kl = -0.5 * np.sum(1 + 2 * log_std - mean**2 - np.exp(log_std) ** 2)
    found = losses_of(trainer, x, a)
    np.testing.assert_allclose(found["kl"], [kl / 49], rtol=1e-5)
    np.testing.assert_allclose(found["representation"], mean, rtol=1e-6)
    np.testing.assert_allclose(trainer([x, a]), mean, rtol=1e-6)
    draws = np.stack([trainer.sample([x, a]) for _ in range(200)])
    deviation = np.exp(log_std)
    assert np.all(np.abs(draws.mean(0) - mean) < 5 * deviation / np.sqrt(200))
    np.testing.assert_allclose(draws.std(0) / deviation, 1, atol=0.3)


def test_edges_are_decoded_from_the_samples(monkeypatch):
    monkeypatch.setattr(keras.random, "normal", lambda shape, **_: tf.fill(shape, -0.5))
    x, a = graph(0)
    trainer = vgae()
    mean, log_std = (np.asarray(one, "float64") for one in trainer.distribution([x, a]))
    expected = loss_of_the_paper(mean - 0.5 * np.exp(log_std), a)
    np.testing.assert_allclose(losses_of(trainer, x, a)["reconstruction"], [expected], rtol=1e-5)


def test_decoder_returns_the_probabilities_of_pairs():
    x, a = graph(0)
    trainer = trainers.GAE(encoder())
    z = np.asarray(trainer.encode([x, a]), "float64")
    expected = 1 / (1 + np.exp(-z @ z.T))
    np.testing.assert_allclose(trainer.reconstruct([x, a]), expected, rtol=1e-5)
    pairs = np.array([[0, 1], [5, 2], [3, 3]])
    found = trainer.decode(z, pairs)
    np.testing.assert_allclose(found, expected[pairs[:, 0], pairs[:, 1]], rtol=1e-5)
    assert trainer.decode(np.stack([z, z]), pairs).shape == (2, 3)


@pytest.mark.few(1)
@pytest.mark.parametrize("negatives_per_edge", [None, 1])
@pytest.mark.parametrize("variational", [False, True], ids=["GAE", "VGAE"])
def test_learns_the_karate_club(variational, negatives_per_edge):
    club = data.load_graph("karate_club")
    make = vgae if variational else lambda **arguments: trainers.GAE(encoder(), **arguments)
    trainer = make(negatives_per_edge=negatives_per_edge, seed=0)
    trainer.compile(keras.optimizers.Adam(0.05))
    graph = data.single_graph(club)
    trainer.fit(graph.repeat(100), verbose=0)
    ((x, a), _) = next(iter(graph))
    found = np.argwhere(np.triu(club.a.toarray(), 1))
    others = np.argwhere(np.triu(1 - club.a.toarray(), 1))
    auc = evaluate.link_prediction(np.asarray(trainer.encode([x, a])), found, others)["auc"]
    assert auc > 0.7  # 0.83 to 0.96 with six seeds


def test_augmented_graph_is_encoded_and_the_original_one_decoded():
    class NoEdges(keras.layers.Layer):
        def call(self, graph, training=False):
            x, a = graph
            return x, 0 * a

    x, a = graph(0)
    trainer = trainers.GAE(encoder(), augment=NoEdges())
    trainer.compile(keras.optimizers.SGD(0.0))
    loss = trainer.fit((x[None], a[None]), verbose=0).history["loss"][0]
    z = trainer.encoder([x, 0 * a])
    assert loss == pytest.approx(loss_of_the_paper(z, a), rel=1e-5)


@pytest.mark.parametrize("extreme", [0.0, 1e4])
def test_extreme_vectors_have_a_finite_loss_and_gradient(extreme):
    x, a = graph(0)
    trainer = trainers.GAE(encoder())
    with tf.GradientTape() as tape:
        values = trainer.compute_losses(Batch((extreme * x, a), (extreme * x, a)), True)
    gradient = tape.gradient(values["reconstruction"], trainer.encoder.trainable_weights)
    assert np.all(np.isfinite(values["reconstruction"]))
    assert all(np.all(np.isfinite(one)) for one in gradient)


def test_full_and_empty_graphs_have_a_loss():
    x, _ = graph(0)
    for a in (np.ones((7, 7), "float32"), np.zeros((7, 7), "float32")):
        for form in forms(a).values():
            assert np.isfinite(losses_of(trainers.GAE(encoder()), x, form)["reconstruction"])


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "all"])
def test_bad_negatives_per_edge_is_rejected(count):
    with pytest.raises((TypeError, ValueError), match=r"`negatives_per_edge` must be.*Received"):
        trainers.GAE(encoder(), negatives_per_edge=count)


def fails_to_fit(trainer, *graph, match):
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=match):
        trainer.fit(tuple(one[None] for one in graph), verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_unsuitable_graphs_and_parts_are_rejected_before_training():
    x, a = graph(0)
    one_way = np.triu(a)
    sampled = trainers.GAE(encoder(), negatives_per_edge=1)
    pooled = trainers.GAE(GraphSequential([GCNConv(3, normalize=True), MeanPool()]))
    uneven = trainers.VGAE(encoder(), GCNConv(3), GCNConv(4))
    fails_to_fit(sampled, x, a, match="needs an adjacency that lists edges")
    fails_to_fit(pooled, x, a, match="must return one vector per node")
    fails_to_fit(uneven, x, a, match="must return vectors of the same width")
    fails_to_fit(trainers.GAE(encoder()), x, one_way, match="must be symmetric")
    fails_to_fit(trainers.GAE(encoder()), x, 0 * a, match="must hold an edge")


@pytest.mark.parametrize("adjacency", ["dense", "sparse", "edges"])
def test_single_graph_is_not_split_into_micro_batches(adjacency):
    trainer = trainers.GAE(encoder())
    trainer.compile("sgd", micro_batch_size=17)
    club = data.single_graph(data.load_graph("karate_club"), adjacency=adjacency)
    with pytest.raises(ValueError, match=r"One graph cannot be split into micro-batches.*Received"):
        trainer.fit(club, verbose=0)


@pytest.mark.parametrize("part", ["encoder", "mean_head", "log_std_head"])
def test_parts_that_are_not_layers_are_rejected(part):
    parts = {"encoder": encoder(), "mean_head": GCNConv(2), "log_std_head": GCNConv(2)}
    with pytest.raises(TypeError, match=part):
        trainers.VGAE(**{**parts, part: "gcn"})
