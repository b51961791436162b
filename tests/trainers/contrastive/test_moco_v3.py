"""MoCo v3: its symmetric loss, momentum encoder, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, optimizers, trainers
from tests.trainers.case import Case
from tests.trainers.small import batch_norm_head, encoder, images


def small_moco_v3() -> trainers.MoCoV3:
    return trainers.MoCoV3(
        encoder(),
        projector=batch_norm_head(),
        predictor=batch_norm_head(),
        augment=augment.SimCLRViews(28, scale=(0.3, 1.0), seed=0),
        momentum=0.9,
    )


CASES = {
    "MoCoV3": Case(
        make=small_moco_v3,
        decreasing_loss="loss",
        decrease=0.09,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        sgd=lambda: keras.optimizers.SGD(0.005),  # batch norm amplifies rounding errors
        normalized=True,
    ),
}


def pairs(count=16):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def moco_v3(**arguments):
    keras.utils.set_random_seed(4)
    arguments = {
        "projector": layers.ProjectionHead((16, 8), normalization=False),
        "predictor": layers.PredictionHead(16, normalization=False),
        **arguments,
    }
    trainer = trainers.MoCoV3(encoder(), **arguments)
    trainer.compile(keras.optimizers.SGD(0.5))
    return trainer


def normalized(z):
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def ctr_float64(q, k, temperature):
    """Return the loss of algorithm 1, one query at a time."""
    total = 0.0
    for i in range(len(q)):
        similarity = np.exp(k @ q[i] / temperature)
        total -= np.log(similarity[i] / similarity.sum())
    return 2 * temperature * total / len(q)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_loss_matches_the_paper(temperature):
    trainer = moco_v3(loss=losses.InfoNCE(temperature))
    trainer.fit(pairs(), batch_size=16, verbose=0)  # so that encoder and momentum encoder differ
    logs = trainer.evaluate(pairs(), batch_size=16, verbose=0, return_dict=True)
    q1, q2 = (normalized(trainer.predictor(trainer.projector(trainer.encoder(x)))) for x in pairs())
    k1, k2 = (normalized(trainer.teacher_projector(trainer.teacher_encoder(x))) for x in pairs())
    expected = ctr_float64(q1, k2, temperature) + ctr_float64(q2, k1, temperature)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_loss_without_temperature_is_not_rescaled():
    trainer = moco_v3(loss=keras.losses.CosineSimilarity())
    logs = trainer.evaluate(pairs(), batch_size=16, verbose=0, return_dict=True)
    q1, q2 = (normalized(trainer.predictor(trainer.projector(trainer.encoder(x)))) for x in pairs())
    k1, k2 = (normalized(trainer.teacher_projector(trainer.teacher_encoder(x))) for x in pairs())
    expected = -(q1 * k2).sum(axis=1).mean() - (q2 * k1).sum(axis=1).mean()
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_momentum_encoder_is_not_trained_and_follows_the_schedule():
    schedule = optimizers.cosine_momentum(0.5, steps=4)
    trainer = moco_v3(momentum=schedule)
    trainer.evaluate(pairs(), batch_size=16, verbose=0)
    before = [np.asarray(w, "float64") for w in trainer.teacher_encoder.weights]
    trainer.train_on_batch(pairs())
    parts = (trainer.encoder, trainer.projector, trainer.predictor)
    assert {id(w) for w in trainer.trainable_weights} == {
        id(w) for part in parts for w in part.trainable_weights
    }
    m = 0.5  # the schedule at step 0, as for a learning rate
    for xi, theta, old in zip(
        trainer.teacher_encoder.weights, trainer.encoder.weights, before, strict=True
    ):
        theta = np.asarray(theta, "float64")
        assert np.any(theta != old)
        np.testing.assert_allclose(np.asarray(xi), m * old + (1 - m) * theta, atol=1e-6)


@pytest.mark.full
def test_micro_batches_give_the_step_of_the_whole_batch():
    whole, parts = moco_v3(), moco_v3()
    whole.compile(keras.optimizers.SGD(0.05))
    parts.compile(keras.optimizers.SGD(0.05), micro_batch_size=4)
    for trainer in (whole, parts):
        trainer.evaluate(pairs(), batch_size=16, verbose=0)  # builds
    parts.set_weights(whole.get_weights())
    for trainer in (whole, parts):
        trainer.fit(pairs(), batch_size=16, epochs=2, verbose=0)
    for one, other in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), atol=1e-5)


def test_defaults_match_the_paper():
    trainer = trainers.MoCoV3(encoder())
    assert trainer.projector.widths == (4096, 4096, 256)
    assert trainer.predictor.widths == (4096, 256)
    assert trainer.loss_function.temperature == 0.2
    assert trainer.teacher.momentum == 0.99


def test_predictor_of_another_width_is_rejected():
    trainer = moco_v3(predictor=layers.ProjectionHead((16, 4)))
    with pytest.raises(ValueError, match="`predictor` must return vectors as wide"):
        trainer.fit(pairs(), batch_size=16, verbose=0)


@pytest.mark.parametrize("momentum", [1.0, -0.1, 2])
def test_momentum_out_of_range_is_rejected(momentum):
    with pytest.raises(ValueError, match="momentum"):
        moco_v3(momentum=momentum)


@pytest.mark.parametrize("part", ["encoder", "projector", "predictor", "augment", "loss"])
def test_parts_of_the_wrong_type_are_rejected(part):
    with pytest.raises(TypeError, match=part):
        trainers.MoCoV3(**{"encoder": encoder(), part: "info_nce"})
