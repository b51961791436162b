"""Tests of GRACE and BGRL: their losses, gradients, modes, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, losses, optimizers, trainers
from keras_ssl.augment.graph import GraphViews
from keras_ssl.layers.graph import GCNConv, GraphSequential, MeanPool
from keras_ssl.trainers.step import Batch
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


def small_graph_views() -> augment.graph.GraphViews:
    return augment.graph.GraphViews(
        [augment.graph.RandomEdgeDrop(0.2, seed=0), augment.graph.RandomFeatureMask(0.2, seed=1)]
    )


CASES = {
    "GRACE": Case(
        make=lambda: trainers.GRACE(
            graph_encoder(16, 8),
            layers.ProjectionHead((16, 8), normalization=False, activation="elu"),
            small_graph_views(),
        ),
        x=image_graphs,
        decreasing_loss="loss",
        decrease=0.54,
        bad_data=BAD_GRAPHS,
        probed=node_labels,
    ),
    "BGRL": Case(
        make=lambda: trainers.BGRL(
            graph_encoder(16, 8),
            predictor=layers.ProjectionHead((16, 8), normalization=False),
            augment=small_graph_views(),
            momentum=optimizers.cosine_momentum(0.9, steps=100),
        ),
        x=image_graphs,
        decreasing_loss="loss",
        decrease=0.9,
        bad_data=BAD_GRAPHS,
        probed=node_labels,
        represents="graph",
    ),
}


class ScaledFeatures(keras.layers.Layer):
    """Multiplies features by factors that depend on their position."""

    def __init__(self, frequency, **kwargs):
        super().__init__(**kwargs)
        self.frequency = frequency

    def call(self, graph, training=False):
        x, *others = graph
        scale = np.cos(self.frequency * np.arange(5)).astype("float32")
        return (x * scale, *others)


VIEWS = (ScaledFeatures(1.0), ScaledFeatures(2.0))


def grace(**arguments):
    head = layers.ProjectionHead((6, 4), normalization=False, activation="elu")
    return trainers.GRACE(encoder(), head, **{"augment": GraphViews(*VIEWS), **arguments})


def bgrl(**arguments):
    head = layers.ProjectionHead((6, 3), normalization=False)
    return trainers.BGRL(encoder(), predictor=head, **{"augment": GraphViews(*VIEWS), **arguments})


def features_of_views(network, x, a):
    return [network(view((x, a))) for view in VIEWS]


def grace_float64(u, v, temperature=0.4):
    """Compute equations 1 and 2 of the paper, one node at a time."""
    u, v = normalized(u), normalized(v)

    def pair(u, v, i):
        positive = np.exp(u[i] @ v[i] / temperature)
        others = [k for k in range(len(u)) if k != i]
        between = sum(np.exp(u[i] @ v[k] / temperature) for k in others)
        within = sum(np.exp(u[i] @ u[k] / temperature) for k in others)
        return -np.log(positive / (positive + between + within))

    return np.mean([(pair(u, v, i) + pair(v, u, i)) / 2 for i in range(len(u))])


def bgrl_float64(q, h):
    """Return minus twice the mean cosine of predictions and targets."""
    return -2 * np.mean(np.sum(normalized(q) * normalized(h), axis=-1))


@pytest.mark.parametrize("chunk_size", [None, 4])
def test_loss_of_grace_matches_the_paper(chunk_size):
    x, a = graph(0)
    trainer = grace(loss=losses.NTXent(temperature=0.4, chunk_size=chunk_size))
    found = losses_of(trainer, x, a)["contrastive"]
    u, v = (trainer.projector(h) for h in features_of_views(trainer.encoder, x, a))
    assert found == pytest.approx(grace_float64(u, v), rel=1e-5)


def test_loss_of_bgrl_matches_the_paper():
    x, a = graph(0)
    trainer = bgrl()
    losses_of(trainer, x, a)  # builds
    for weight in trainer.teacher_encoder.weights:
        weight.assign(0.5 - weight)
    found = losses_of(trainer, x, a)["regression"]
    q_1, q_2 = (trainer.predictor(h) for h in features_of_views(trainer.encoder, x, a))
    h_1, h_2 = features_of_views(trainer.teacher_encoder, x, a)
    assert found == pytest.approx(bgrl_float64(q_1, h_2) + bgrl_float64(q_2, h_1), rel=1e-5)


def test_no_gradient_flows_into_the_teacher_of_bgrl():
    x, a = graph(0)
    trainer = bgrl()
    views = trainer.augment((x, a), training=True)
    with tf.GradientTape() as tape:
        loss = trainer.compute_losses(Batch((x, a), views), True)["regression"]
    of_teacher, of_student = tape.gradient(
        loss, [list(trainer.teacher_encoder.weights), list(trainer.encoder.weights)]
    )
    assert all(one is None for one in of_teacher)
    assert all(np.any(one) for one in of_student)


def test_teacher_of_bgrl_follows_the_encoder():
    x, a = graph(0)
    trainer = bgrl(momentum=0.75)
    trainer.compile(keras.optimizers.SGD(0.5))
    trainer.evaluate((x[None], a[None]), verbose=0)
    before = [np.asarray(w) for w in trainer.teacher_encoder.weights]
    trainer.train_on_batch((x[None], a[None]))
    for xi, theta, old in zip(
        trainer.teacher_encoder.weights, trainer.encoder.weights, before, strict=True
    ):
        np.testing.assert_allclose(xi, 0.75 * old + 0.25 * np.asarray(theta), atol=1e-6)
    assert trainer.teacher_projector.weights == []


@pytest.mark.parametrize("make", [grace, bgrl])
def test_loss_is_the_same_for_all_forms_and_modes(make):
    x, a = graph(0)
    trainer = make()
    expected = losses_of(trainer, x, a)
    name = next(iter(expected.keys() - {"representation"}))
    for form in forms(a).values():
        np.testing.assert_allclose(losses_of(trainer, x, form)[name], expected[name], rtol=1e-5)
    np.testing.assert_allclose(
        losses_of(trainer, x[None], a[None])[name], expected[name], rtol=1e-5
    )
    union = joined(graph(0), graph(1))
    batch = [np.stack(parts) for parts in zip(graph(0), graph(1), strict=True)]
    np.testing.assert_allclose(
        losses_of(trainer, *batch)[name], losses_of(trainer, *union)[name], rtol=1e-5
    )


def test_bgrl_ignores_padding():
    graphs = graph(0), graph(1, nodes=4)
    trainer = bgrl()
    singles = [losses_of(trainer, *one)["regression"] for one in graphs]
    batch = losses_of(trainer, *padded(*graphs, nodes=9))["regression"]
    assert batch == pytest.approx(np.mean(singles), rel=1e-5)


def fails_to_fit(trainer, *graph, match):
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=match):
        trainer.fit(graph, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


@pytest.mark.parametrize("make", [grace, bgrl])
def test_unsuitable_views_and_encoders_are_rejected_before_training(make):
    x, a = (one[None] for one in graph(0))
    fails_to_fit(make(augment=None), x, a, match="compares two views of a graph.*GraphViews")
    fails_to_fit(make(augment=VIEWS[0]), x, a, match="compares two views of a graph")
    pooled = make()
    pooled.encoder = GraphSequential([GCNConv(3, normalize=True), MeanPool()])
    fails_to_fit(pooled, x, a, match="must return one vector per node")


def test_grace_rejects_padding():
    x, a, mask = padded(graph(0), nodes=9)
    fails_to_fit(grace(), x, a, mask, match="padded nodes are not supported.*disjoint_batches")


def test_bgrl_rejects_a_predictor_of_the_wrong_width():
    x, a = (one[None] for one in graph(0))
    narrow = trainers.BGRL(encoder(), predictor=keras.layers.Dense(2), augment=GraphViews(*VIEWS))
    fails_to_fit(narrow, x, a, match="as wide as those")


@pytest.mark.parametrize("momentum", [1.0, -0.1])
def test_momentum_out_of_range_is_rejected(momentum):
    with pytest.raises(ValueError, match="momentum"):
        bgrl(momentum=momentum)


@pytest.mark.parametrize("part", ["encoder", "projector", "augment", "loss"])
@pytest.mark.parametrize("method", [trainers.GRACE, trainers.BGRL])
def test_parts_of_the_wrong_type_are_rejected(method, part):
    with pytest.raises(TypeError, match=part):
        method(**{"encoder": encoder(), part: "gcn"})


def test_defaults_are_those_of_the_papers():
    trainer = trainers.GRACE(encoder())
    assert trainer.projector.widths == (128, 128) and trainer.loss_function.temperature == 0.4
    trainer = trainers.BGRL(encoder())
    assert trainer.predictor.width == 512 and trainer.teacher.momentum == 0.99
