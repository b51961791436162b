"""CAPI: its losses, what learns, its predictor, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import layers, losses, trainers
from tests.trainers.case import Case
from tests.trainers.masked.small import (
    BAD_PATCHES,
    FixedMask,
    Mixer,
    check_teacher_follows,
    made,
    moved_apart,
    shapes_seen,
    tiny_vit,
)
from tests.trainers.small import images


def small_parts():
    return {
        "encoder": tiny_vit(class_token=False, pooling="mean"),
        "masking": layers.InverseBlockMasking((4, 4), 0.6, seed=0),
        "predictor": layers.CrossTokenDecoder(8, depth=1, num_heads=2),
        "prototypes": layers.Prototypes(8),
    }


CASES = {
    "CAPI": Case(
        make=lambda: trainers.CAPI(**small_parts(), momentum=0.9),
        decreasing_loss="prediction",
        decrease=0.9,
        bad_data=BAD_PATCHES,
    ),
}

HIDDEN = (1, 2, 5, 6, 7, 9, 10, 13)
VISIBLE = (0, 3, 4, 8, 11, 12, 14, 15)


def make_trainer(**arguments):
    parts = {**small_parts(), "masking": FixedMask(HIDDEN), **arguments}
    return made("CAPI", **{name: part for name, part in parts.items() if part != "default"})


def sinkhorn(logits, iterations=3):
    q = np.exp(logits - logits.max())
    for _ in range(iterations):
        q = q / q.sum(axis=0, keepdims=True)
        q = q / q.sum(axis=-1, keepdims=True)
    return q


def cross_entropy(q, scores):
    logits = scores / 0.12
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -(q * log_p).sum(axis=-1).mean()


def test_losses_match_the_paper():
    trainer, x = moved_apart(make_trainer()), images()[0][:8]
    patches = trainer.teacher_encoder(x, return_intermediates=True)["patch_tokens"]
    patches = np.asarray(patches, "float64")
    kernel, bias = (np.asarray(w, "float64") for w in trainer.clusters.weights)
    unit = patches / np.linalg.norm(patches, axis=-1, keepdims=True)
    scores = unit @ kernel + bias
    q = sinkhorn(scores / 0.06)
    tokens = np.asarray(trainer.encoder.embed(x))[:, VISIBLE]
    places, asked = (np.tile(one, (8, 1)).astype("int32") for one in (VISIBLE, HIDDEN))
    known = trainer.encoder.encode(tokens, (4, 4), indices=places)["patch_tokens"]
    predicted = trainer.prototypes(trainer.predictor(known, places, asked, grid=(4, 4)))
    found = trainer.compute_losses(trainers.Batch(x, x), False)
    expected = cross_entropy(q[:, HIDDEN], np.asarray(predicted, "float64"))
    assert float(found["prediction"]) == pytest.approx(expected, rel=1e-4)
    assert float(found["clustering"]) == pytest.approx(cross_entropy(q, scores), rel=1e-4)


def test_each_loss_trains_its_own_part():
    import tensorflow as tf

    trainer, x = make_trainer(), images()[0][:8]
    with tf.GradientTape(persistent=True) as tape:
        found = trainer.compute_losses(trainers.Batch(x, x), True)
    weights = trainer.trainable_variables
    clusters = {id(w) for w in trainer.clusters.weights}
    for name in ("clustering", "prediction"):
        for weight in weights:
            learns = tape.gradient(found[name], weight.value) is not None
            assert learns == ((id(weight) in clusters) == (name == "clustering")), weight.path


def test_encoder_sees_the_visible_patches_and_the_predictor_the_rest(monkeypatch):
    trainer = make_trainer()
    shapes = shapes_seen(trainer, monkeypatch)
    predicted, places = trainer.predict_hidden(images()[0][:5])
    assert shapes == [(5, 8, 16), ((5, 8, 16), (5, 8))]
    assert predicted.shape == (5, 8, 8)
    np.testing.assert_array_equal(places, [HIDDEN] * 5)


def test_teacher_follows_and_gets_no_gradient():
    check_teacher_follows(make_trainer(momentum=0.75), 0.75)


def test_defaults_match_the_paper():
    trainer = trainers.CAPI(tiny_vit())
    assert (trainer.predictor.width, trainer.predictor.depth) == (768, 12)
    assert trainer.prototypes.count == 16384
    assert trainer.masking.ratio == 0.65 and trainer.masking.roll
    loss = trainer.loss_function
    assert (loss.teacher_temperature, loss.student_temperature) == (0.06, 0.12)
    assert loss.iterations == 3


def test_other_predictors_and_clusters_may_be_used():
    arguments = {
        "predictor": layers.TokenDecoder(8, depth=1, num_heads=2),
        "clusters": layers.Prototypes(8),
    }
    assert np.all(np.isfinite(make_trainer(**arguments).train_on_batch(images()[0][:8])))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": Mixer()}, TypeError, "indices"),
        ({"masking": 0.75}, TypeError, "`masking`"),
        ({"predictor": 8}, TypeError, "`predictor`"),
        ({"prototypes": keras.layers.Dense(8)}, TypeError, "`prototypes` must be a Keras Prot"),
        ({"clusters": 8}, TypeError, "`clusters`"),
        ({"clusters": keras.layers.Dense(5)}, ValueError, r"as there are `prototypes`, 8.*16, 5\)"),
        ({"loss": losses.TokenDistillation()}, TypeError, "`loss` must be a Keras CAPILoss"),
        ({"momentum": 1.0}, ValueError, "momentum"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make_trainer(**arguments)


def test_a_batch_of_one_image_is_rejected():
    trainer = trainers.CAPI(**small_parts())
    trainer.compile("sgd")
    with pytest.raises(ValueError, match="fewer than 2 examples"):
        trainer.fit(images()[0][:5], batch_size=4, verbose=0)
