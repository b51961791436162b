"""Tests of GraphMAE: its loss, masks, padding, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import losses, trainers
from keras_ssl.layers.graph import GCNConv, GraphSequential, MeanPool
from keras_ssl.ops.graph.inputs import GraphInputs
from tests.layers.graph.conformance import forms
from tests.trainers.case import BAD_GRAPHS, Case
from tests.trainers.graph.small_graphs import (
    encoder,
    graph,
    joined,
    losses_of,
    normalized,
    padded,
)
from tests.trainers.small import graph_encoder, image_graphs, node_labels

CASES = {
    "GraphMAE": Case(
        make=lambda: trainers.GraphMAE(
            graph_encoder(16, 8), graph_encoder(49), replace_rate=0.2, seed=0
        ),
        x=image_graphs,
        decreasing_loss="loss",
        decrease=0.28,
        bad_data=BAD_GRAPHS,
        probed=node_labels,
    ),
}


# the first number orders the nodes, the second selects the node whose features replace another's
UNIFORM = np.stack([[0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6], [0.0] * 7], axis=1).astype("float32")


def graph_mae(**arguments):
    return trainers.GraphMAE(encoder(), GCNConv(5, normalize=True), **{"seed": 0, **arguments})


def masks(trainer, *graph):
    parts = GraphInputs(tf.constant(graph[0]), graph[1], mask=graph[2] if graph[2:] else None)
    return [np.asarray(one) for one in trainer._draw_masks(parts.x, parts)]


def by_hand(trainer, x, a, masked, replaced=(), source=None):
    """Compute the loss of the masked nodes in a loop, with the trainer's networks."""
    seen = x.copy()
    seen[list(masked)] = np.asarray(trainer.mask_token.token)
    if replaced:
        seen[list(replaced)] = x[source]
    h = np.array(trainer.encoder([seen, a]))
    h[list(masked)] = 0
    z = normalized(trainer.decoder([h, a]))
    return np.mean([(1 - z[i] @ normalized(x)[i]) ** 2 for i in masked])


def test_loss_matches_the_paper(monkeypatch):
    x, a = graph(0)
    monkeypatch.setattr(keras.random, "uniform", lambda *_, **__: tf.constant(UNIFORM))
    trainer = graph_mae(mask_rate=0.45)  # of 7 nodes 3, those with the smallest numbers
    losses_of(trainer, x, a)  # builds
    trainer.mask_token.token.assign(np.linspace(-1, 1, 5))
    expected = by_hand(trainer, x, a, masked=(1, 3, 5))
    for form in forms(a).values():
        found = losses_of(trainer, x, form)["reconstruction"]
        assert found.shape == (7,)
        assert np.mean(found) == pytest.approx(expected, rel=1e-5)
    found = losses_of(trainer, tf.sparse.from_dense(x), a)["reconstruction"]
    assert np.mean(found) == pytest.approx(expected, rel=1e-5)


def test_replaced_nodes_get_the_features_of_others(monkeypatch):
    x, a = graph(0)
    monkeypatch.setattr(keras.random, "uniform", lambda *_, **__: tf.constant(UNIFORM))
    trainer = graph_mae(mask_rate=0.45, replace_rate=0.3)
    found = losses_of(trainer, x, a)["reconstruction"]
    expected = by_hand(trainer, x, a, masked=(1, 3, 5), replaced=(1,), source=1)
    assert np.mean(found) == pytest.approx(expected, rel=1e-5)


def test_share_of_masked_nodes_is_that_of_each_graph_without_padding(rng):
    x, a, mask = padded(graph(0, nodes=8), graph(1, nodes=4), graph(2, nodes=1), nodes=9)
    trainer = graph_mae(mask_rate=0.25, replace_rate=0.5)
    draws = [masks(trainer, x, a, mask) for _ in range(100)]
    for is_masked, is_replaced, others in draws:
        assert is_masked.sum(1).tolist() == [2, 1, 1]
        assert is_replaced.sum(1).tolist() == [1, 1, 1] and np.all(is_masked | ~is_replaced)
        assert not np.any(is_masked & ~mask)
        assert np.all(np.take_along_axis(mask, others, axis=1))
    share = np.mean([is_masked for is_masked, _, _ in draws], axis=0)
    assert np.all(np.abs(share[0, :8] - 0.25) < 0.2)  # all nodes are equally likely
    assert np.any(draws[0][0] != draws[1][0])


def test_padding_is_ignored(monkeypatch):
    x, a, mask = padded(graph(0), graph(1, nodes=4), nodes=9)
    other = np.where(mask[..., None], x, -7).astype("float32")
    values = [losses_of(graph_mae(), one, a, mask)["reconstruction"] for one in (x, other)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)
    # the mean over rows equals the mean over the masked nodes of each graph
    numbers = np.zeros((2, 9, 2), "float32")
    numbers[:, :7] = UNIFORM
    monkeypatch.setattr(keras.random, "uniform", lambda *_, **__: tf.constant(numbers))
    trainer = graph_mae()
    batch = losses_of(trainer, x, a, mask)["reconstruction"]
    single = [
        by_hand(trainer, *graph(0), masked=(1, 3, 5, 6)),
        by_hand(trainer, *graph(1, nodes=4), masked=(1, 3)),
    ]
    np.testing.assert_allclose(batch.mean(1), single, rtol=1e-5)


def test_union_is_masked_as_one_graph():
    x, a, i = joined(graph(0), graph(1))
    for form in forms(a).values():
        values = losses_of(graph_mae(), x, form, i)["reconstruction"]
        np.testing.assert_allclose(
            values, losses_of(graph_mae(), x, a)["reconstruction"], rtol=1e-5
        )
    assert np.count_nonzero(values) == 7


def test_representation_is_that_of_the_unmasked_graph():
    x, a = graph(0)
    trainer = graph_mae()
    losses_of(trainer, x, a)
    np.testing.assert_array_equal(trainer([x, a]), trainer.encoder([x, a]))


def test_all_parts_and_the_token_are_trained():
    x, a = (one[None] for one in graph(0))
    trainer = graph_mae()
    trainer.compile(keras.optimizers.SGD(0.1))
    trainer.evaluate((x, a), verbose=0)
    before = [np.asarray(weight) for weight in trainer.trainable_weights]
    trainer.fit((x, a), verbose=0)
    after = [np.asarray(weight) for weight in trainer.trainable_weights]
    assert len(after) == 5
    assert all(np.any(one != other) for one, other in zip(before, after, strict=True))


def test_loss_can_be_replaced():
    x, a = graph(0)
    trainer = graph_mae(loss=keras.losses.MeanSquaredError())
    assert np.mean(losses_of(trainer, x, a)["reconstruction"]) > 0


def fails_to_fit(trainer, *graph, match):
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=match):
        trainer.fit(tuple(one[None] for one in graph), verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_graph_without_edges_is_rejected():
    x, a = graph(0)
    trainer = graph_mae()
    trainer.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="`a` must hold an edge"):
        trainer.fit(tf.data.Dataset.from_tensors(((x, 0 * a),)), verbose=0)


def test_unsuitable_parts_are_rejected_before_training():
    x, a = graph(0)
    narrow = trainers.GraphMAE(encoder(), GCNConv(4, normalize=True))
    fails_to_fit(narrow, x, a, match="`decoder` must return the 5 features.*4 channels")
    pooled = GraphSequential([GCNConv(3, normalize=True), MeanPool()])
    fails_to_fit(
        trainers.GraphMAE(pooled, GCNConv(5)), x, a, match="must return one vector per node"
    )


@pytest.mark.parametrize("name", ["mask_rate", "replace_rate"])
def test_bad_rates_are_rejected(name):
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"`{name}` must be.*Received"):
            graph_mae(**{name: rate})
    for rate in ("half", None, True):
        with pytest.raises(TypeError, match=f"`{name}` must be a .*number.*Received"):
            graph_mae(**{name: rate})
    with pytest.raises(ValueError, match="`mask_rate` must be a positive number of at most 1"):
        graph_mae(mask_rate=0.0)


@pytest.mark.parametrize("part", ["encoder", "decoder", "loss"])
def test_parts_of_the_wrong_type_are_rejected(part):
    parts = {"encoder": encoder(), "decoder": GCNConv(5), "loss": losses.ScaledCosineError()}
    with pytest.raises(TypeError, match=part):
        trainers.GraphMAE(**{**parts, part: "sce"})
