"""I-JEPA: its targets and loss, its teacher, errors."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import layers, trainers
from tests.trainers.case import Case
from tests.trainers.masked.small import (
    BAD_PATCHES,
    Mixer,
    check_teacher_follows,
    loss_of,
    made,
    moved_apart,
    shapes_seen,
    tiny_vit,
)
from tests.trainers.small import images

CASES = {
    "IJEPA": Case(
        make=lambda: trainers.IJEPA(
            tiny_vit(class_token=False, pooling="mean"),
            layers.MultiBlockMasking((4, 4), targets=2, target_scale=(0.2, 0.3), seed=0),
            layers.TokenDecoder(8, depth=1, num_heads=2),
            momentum=keras.optimizers.schedules.PolynomialDecay(0.9, 100, 1.0),
        ),
        decreasing_loss="loss",
        decrease=0.15,
        bad_data=BAD_PATCHES,
    ),
}


CONTEXT = (0, 1, 2, 3, 4, 8)
TARGETS = ((5, 6, 9), (10, 11, 14))


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class FixedBlocks(keras.layers.Layer):
    """The same context and targets of every image."""

    def call(self, tokens):
        batch = ops.shape(tokens)[0]
        return [
            ops.tile(np.array([one], "int32"), (batch, *[1] * np.ndim(one)))
            for one in (CONTEXT, TARGETS)
        ]


def make_trainer(**arguments):
    parts = {
        "encoder": tiny_vit(class_token=False, pooling="mean"),
        "masking": FixedBlocks(),
        "predictor": layers.TokenDecoder(8, depth=1, num_heads=2),
    }
    return made("IJEPA", **{**parts, **arguments})


@pytest.mark.parametrize("class_token", [False, True])
def test_loss_matches_the_published_code(class_token):
    encoder = tiny_vit(class_token=class_token, pooling="mean")
    trainer, x = moved_apart(make_trainer(encoder=encoder)), images()[0][:8]
    tokens = np.asarray(trainer.encoder.embed(x))[:, CONTEXT]
    places = np.tile(CONTEXT, (8, 1)).astype("int32")
    known = trainer.encoder.encode(tokens, (4, 4), indices=places)["patch_tokens"]
    truth = trainer.teacher_encoder(x, return_intermediates=True)["patch_tokens"]
    truth = np.asarray(truth, "float64")
    truth = truth - truth.mean(-1, keepdims=True)
    truth /= np.sqrt(truth.var(-1, keepdims=True) + 1e-5)
    kernel, bias = (np.asarray(w, "float64") for w in trainer.to_targets.weights)
    losses = []
    for block in TARGETS:
        asked = np.tile(block, (8, 1)).astype("int32")
        predicted = trainer.predictor(known, places, asked, grid=(4, 4))
        error = np.abs(np.asarray(predicted, "float64") @ kernel + bias - truth[:, block])
        losses.append(np.where(error < 1, error**2 / 2, error - 0.5))
    assert loss_of(trainer, x) == pytest.approx(np.mean(losses), rel=1e-4)


def test_encoder_sees_the_context_and_the_predictor_one_target(monkeypatch):
    trainer = make_trainer()
    shapes = shapes_seen(trainer, monkeypatch)
    predicted, places = trainer.predict_hidden(images()[0][:5])
    assert shapes == [(5, 6, 16), ((10, 6, 16), (10, 3))]
    assert predicted.shape == (5, 6, 16)
    np.testing.assert_array_equal(places, [[5, 6, 9, 10, 11, 14]] * 5)


def test_teacher_follows_and_gets_no_gradient():
    check_teacher_follows(make_trainer(momentum=0.75), 0.75)


def test_defaults_match_the_paper():
    trainer = trainers.IJEPA(tiny_vit(), FixedBlocks())
    assert (trainer.predictor.width, trainer.predictor.depth) == (384, 12)
    assert trainer.teacher.momentum == 0.996
    masking = layers.MultiBlockMasking((14, 14))
    assert masking.targets == 4 and masking.target_scale == (0.15, 0.2)
    assert masking.aspect_ratio == (0.75, 1.5) and masking.context_scale == (0.85, 1.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": Mixer()}, TypeError, "indices"),
        ({"predictor": 8}, TypeError, "`predictor`"),
        ({"masking": 0.75}, TypeError, "`masking`"),
        ({"masking": layers.RandomMasking()}, ValueError, "places of the context.*Received: shape"),
        ({"masking": layers.MultiBlockMasking((7, 7))}, ValueError, "has 49 tokens. Received: 16"),
        ({"momentum": -0.1}, ValueError, "momentum"),
        ({"encoder": tiny_vit(norm="batch")}, ValueError, "no batch normalization"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make_trainer(**arguments)
