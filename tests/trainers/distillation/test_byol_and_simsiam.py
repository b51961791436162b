"""BYOL and SimSiam: losses, stopped gradients, teacher, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, optimizers, trainers
from tests.trainers.case import Case
from tests.trainers.small import encoder, images

CASES = {
    "BYOL": Case(
        make=lambda: trainers.BYOL(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            layers.ProjectionHead((32, 16), normalization=False),
            augment.SimCLRViews(28, seed=0),
            momentum=optimizers.cosine_momentum(0.9, steps=100),
        ),
        decreasing_loss="loss",
        decrease=0.75,
        represents="teacher",
    ),
    "SimSiam": Case(
        make=lambda: trainers.SimSiam(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            layers.ProjectionHead((8, 16), normalization=False),
            augment.SimCLRViews(28, seed=0),
        ),
        decreasing_loss="loss",
        decrease=0.18,
    ),
}


def pairs(count=32):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def head(*widths):
    return layers.ProjectionHead(widths, normalization=False)


def make(method, **arguments):
    keras.utils.set_random_seed(3)
    parts = {"projector": head(16, 8), "predictor": head(12, 8), **arguments}
    trainer = method(encoder(), **parts)
    trainer.compile(keras.optimizers.SGD(0.01))
    return trainer


def cosine_float64(a, b):
    """Return the mean cosine similarity of rows."""
    a, b = (np.asarray(x, "float64") for x in (a, b))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return (a * b).sum(axis=1).mean()


def test_byol_matches_the_paper_without_its_constant():
    trainer = make(trainers.BYOL)
    trainer.fit(pairs(), verbose=0)  # so that student and teacher differ
    logs = trainer.evaluate(pairs(), batch_size=32, verbose=0, return_dict=True)
    q = [trainer.predictor(trainer.projector(trainer.encoder(x))) for x in pairs()]
    z = [trainer.teacher_projector(trainer.teacher_encoder(x)) for x in pairs()]
    squared = [2 - 2 * cosine_float64(*both) for both in ((q[0], z[1]), (q[1], z[0]))]
    assert logs["loss"] == pytest.approx(sum(squared) - 4, rel=1e-5)


def test_simsiam_matches_the_paper():
    trainer = make(trainers.SimSiam)
    logs = trainer.evaluate(pairs(), batch_size=32, verbose=0, return_dict=True)
    z = [trainer.projector(trainer.encoder(x)) for x in pairs()]
    p = [trainer.predictor(one) for one in z]
    expected = -(cosine_float64(p[0], z[1]) + cosine_float64(p[1], z[0])) / 2
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_simsiam_has_gradients_through_predictions_only():
    """Compare with one step by hand, in which the targets are constants."""
    trainer, by_hand = make(trainers.SimSiam), make(trainers.SimSiam)
    by_hand.evaluate(pairs(), batch_size=32, verbose=0)  # builds it
    x = pairs()
    targets = [by_hand.projector(by_hand.encoder(one)).numpy() for one in x]
    targets = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in targets]
    with tf.GradientTape() as tape:
        p = [by_hand.predictor(by_hand.projector(by_hand.encoder(one))) for one in x]
        p = [tf.linalg.l2_normalize(one, axis=1) for one in p]
        products = [tf.reduce_sum(p[i] * targets[1 - i], axis=1) for i in (0, 1)]
        loss = -tf.reduce_mean(products[0] + products[1]) / 2
    weights = [v.value for v in by_hand.trainable_weights]
    expected = [v - 0.01 * g for v, g in zip(weights, tape.gradient(loss, weights), strict=True)]
    trainer.train_on_batch(x)
    for found, one in zip(trainer.trainable_weights, expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-4, atol=1e-6)


def test_teacher_of_byol_follows_and_is_not_trained():
    trainer = make(trainers.BYOL, momentum=0.5)
    trainer.build_step((keras.KerasTensor((32, 28, 28, 1)),) * 2, None)
    student = [*trainer.encoder.weights, *trainer.projector.weights]
    teacher = [*trainer.teacher_encoder.weights, *trainer.teacher_projector.weights]
    before = [np.asarray(w) for w in teacher]
    trainer.train_on_batch(pairs())
    for theta, xi, old in zip(student, teacher, before, strict=True):
        np.testing.assert_allclose(xi, (old + np.asarray(theta)) / 2, rtol=1e-5, atol=1e-7)
    learned = len(student) + len(trainer.predictor.weights)
    assert len(trainer.trainable_weights) == learned


def test_momentum_of_byol_may_be_a_schedule_and_is_saved():
    trainer = make(trainers.BYOL, momentum=optimizers.cosine_momentum(0.996, steps=10))
    copy = trainers.BYOL.from_config(trainer.get_config())
    assert float(copy.teacher.momentum(0)) == pytest.approx(0.996)
    assert float(copy.teacher.momentum(10)) == pytest.approx(1.0)


def test_defaults_match_the_paper():
    byol, simsiam = trainers.BYOL(encoder()), trainers.SimSiam(encoder())
    assert byol.projector.widths == (4096, 256) and byol.predictor.width == 4096
    assert byol.teacher.momentum == 0.996
    assert simsiam.projector.widths == (2048, 2048, 2048) and simsiam.predictor.width == 512
    simsiam.projector.build((None, 16))
    # three kernels and two normalisations with scale and offset
    assert len(simsiam.projector.trainable_weights) == 3 + 2 * 2


@pytest.mark.parametrize("method", [trainers.BYOL, trainers.SimSiam])
@pytest.mark.parametrize("part", ["encoder", "projector", "predictor", "augment", "loss"])
def test_parts_of_the_wrong_type_are_rejected(method, part):
    with pytest.raises(TypeError, match=part):
        method(**{"encoder": encoder(), part: "mlp"})


@pytest.mark.parametrize("method", [trainers.BYOL, trainers.SimSiam])
def test_predictor_of_another_width_is_rejected(method):
    trainer = make(method, predictor=head(12, 4))
    with pytest.raises(ValueError, match="`predictor` must return"):
        trainer.fit(pairs(), verbose=0)


@pytest.mark.parametrize("method", [trainers.BYOL, trainers.SimSiam])
def test_one_view_is_rejected(method):
    with pytest.raises(ValueError, match="tuple of 2 views"):
        make(method).fit(pairs()[0], verbose=0)


@pytest.mark.parametrize(("momentum", "error"), [(1.0, ValueError), ("0.9", TypeError)])
def test_invalid_momentum_is_rejected(momentum, error):
    with pytest.raises(error, match="momentum"):
        make(trainers.BYOL, momentum=momentum)
