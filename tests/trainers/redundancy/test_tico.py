"""TiCo: its loss, covariance, teacher, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, trainers
from tests.trainers.case import Case
from tests.trainers.small import encoder, images

CASES = {
    "TiCo": Case(
        make=lambda: trainers.TiCo(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            augment.SimCLRViews(28, scale=(0.6, 1.0), strength=0.3, seed=0),
            covariance=layers.MovingCovariance(0.5),
            momentum=0.9,
        ),
        decreasing_loss="loss",
        decrease=0.6,
        start=3,  # the covariance rises from 0
        epochs=16,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
    ),
}


def pairs(count=16):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def make(**arguments):
    keras.utils.set_random_seed(4)
    head = layers.ProjectionHead((16, 8), normalization=False)
    trainer = trainers.TiCo(encoder(), head, **arguments)
    trainer.compile(keras.optimizers.SGD(0.1))
    return trainer


def normalized(z):
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def embeddings(trainer):
    x, other = pairs()
    z = normalized(trainer.projector(trainer.encoder(x)))
    return z, normalized(trainer.teacher_projector(trainer.teacher_encoder(other)))


@pytest.mark.few(1)
@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_steps_match_the_paper(micro_batch_size):
    covariance = layers.MovingCovariance(0.75)
    trainer = make(loss=losses.TiCoLoss(5.0), covariance=covariance, momentum=0.5)
    trainer.compile(keras.optimizers.SGD(0.1), micro_batch_size=micro_batch_size)
    trainer.evaluate(pairs(), batch_size=16, verbose=0)  # builds, and must not move C
    c = np.zeros((8, 8))
    for _ in range(3):
        z, target = embeddings(trainer)
        c = 0.75 * c + 0.25 * z.T @ z / 16
        expected = np.mean([1 - a @ b + 5 * a @ c @ a for a, b in zip(z, target, strict=True)])
        logs = trainer.train_on_batch(pairs(), return_dict=True)
        assert logs["loss"] == pytest.approx(expected, rel=1e-4)
        np.testing.assert_allclose(trainer.covariance.covariance, c, rtol=1e-4, atol=1e-6)


def test_only_the_student_is_trained():
    trainer = make()
    trainer.evaluate(pairs(), batch_size=16, verbose=0)
    learned = {id(w) for w in trainer.trainable_weights}
    assert learned == {
        id(w) for part in (trainer.encoder, trainer.projector) for w in part.trainable_weights
    }


def test_defaults():
    trainer = trainers.TiCo(encoder())
    assert trainer.projector.widths == (4096, 256)
    assert trainer.loss_function.contrast_weight == 8.0
    assert trainer.covariance.momentum == 0.9


@pytest.mark.parametrize("part", ["encoder", "projector", "augment", "loss", "covariance"])
def test_parts_of_the_wrong_type_are_rejected(part):
    with pytest.raises(TypeError, match=part):
        trainers.TiCo(**{"encoder": encoder(), part: "mlp"})


def test_batch_of_one_and_single_view_are_rejected():
    with pytest.raises(ValueError, match="33 examples and batch_size=32"):
        make().fit(pairs(33), batch_size=32, verbose=0)
    with pytest.raises(ValueError, match="tuple of 2 views"):
        make().fit(pairs()[0], verbose=0)
