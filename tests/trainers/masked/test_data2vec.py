"""data2vec: its targets and loss, its teacher, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import layers, optimizers, trainers
from tests.trainers.case import Case
from tests.trainers.masked.small import (
    BAD_PATCHES,
    FixedMask,
    Mixer,
    check_teacher_follows,
    loss_of,
    made,
    moved_apart,
    tiny_vit,
)
from tests.trainers.small import images

CASES = {
    "Data2Vec": Case(
        make=lambda: trainers.Data2Vec(
            tiny_vit(),
            layers.BlockMasking((4, 4), 0.6, min_tokens=3, seed=0),
            target_blocks=2,
            momentum=optimizers.cosine_momentum(0.9, steps=100),
        ),
        decreasing_loss="loss",
        decrease=0.08,
        bad_data=BAD_PATCHES,
    ),
}


HIDDEN = (1, 2, 5, 6, 9, 10, 11)


def make_trainer(**arguments):
    parts = {"encoder": tiny_vit(), "masking": FixedMask(HIDDEN), "target_blocks": 2}
    return made("Data2Vec", **{**parts, **arguments})


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize(("beta", "count"), [(2.0, 2), (0.5, 1)])
def test_loss_matches_the_paper(beta, count):
    trainer, x = moved_apart(make_trainer(beta=beta, target_blocks=count)), images()[0][:8]
    teacher = trainer.teacher_encoder(x, return_intermediates=True)["blocks"][-count:]
    patches = [layer_norm(np.asarray(one, "float64")[:, 1:]) for one in teacher]
    targets = layer_norm(np.mean(patches, axis=0))[:, HIDDEN]
    tokens = np.array(trainer.encoder.embed(x))
    tokens[:, HIDDEN] = np.asarray(trainer.mask_token.token)
    outputs = trainer.encoder.encode(tokens, (4, 4))["patch_tokens"]
    kernel, bias = (np.asarray(w, "float64") for w in trainer.to_targets.weights)
    error = np.abs(np.asarray(outputs, "float64")[:, HIDDEN] @ kernel + bias - targets)
    assert (error < beta).any() and (error > beta).any()
    expected = np.where(error < beta, error**2 / (2 * beta), error - beta / 2).mean()
    assert loss_of(trainer, x) == pytest.approx(expected, rel=1e-4)


def test_teacher_follows_and_gets_no_gradient():
    trainer = make_trainer(momentum=0.75)
    check_teacher_follows(trainer, 0.75)
    # mask token and linear map
    assert len(trainer.trainable_weights) == len(trainer.encoder.weights) + 3


def test_teacher_has_no_stochastic_depth():
    trainer = make_trainer(encoder=tiny_vit(drop_path_rate=0.9, dropout_rate=0.5))
    first, second = (np.asarray(trainer.targets(images()[0][:4])) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_head_stands_before_the_linear_map():
    head = keras.layers.Dense(5, activation="gelu")
    trainer = make_trainer(head=head)
    assert head.kernel.shape == (16, 5) and trainer.to_targets.dense.kernel.shape == (5, 16)


def test_defaults_match_the_paper():
    trainer = trainers.Data2Vec(tiny_vit(), FixedMask(HIDDEN))
    assert (trainer.target_blocks, trainer.beta, trainer.teacher.momentum) == (6, 2.0, 0.9998)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": keras.layers.Dense(2)}, TypeError, "`encoder` must be a `keras_ssl.networks"),
        ({"head": 3}, TypeError, "`head`"),
        ({"target_blocks": 0}, ValueError, "`target_blocks`"),
        ({"target_blocks": 3}, ValueError, "at least `target_blocks`.*=3, and 2 blocks"),
        ({"encoder": Mixer()}, ValueError, "\"blocks\".*outputs .'features', 'patch_tokens'"),
        ({"beta": 0.0}, ValueError, "`beta`"),
        ({"momentum": 1.0}, ValueError, "momentum"),
        ({"encoder": tiny_vit(norm="batch")}, ValueError, "no batch normalization"),
        ({"masking": layers.BlockMasking((7, 7))}, ValueError, "has 49 tokens. Received: 16"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make_trainer(**arguments)
