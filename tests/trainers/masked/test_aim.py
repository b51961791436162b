"""AIM: its loss, its order, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import layers, trainers
from tests.trainers.case import Case
from tests.trainers.masked.small import (
    BAD_PATCHES,
    FixedMask,
    Mixer,
    loss_of,
    made,
    patches_of,
    tiny_vit,
)
from tests.trainers.small import images

CASES = {
    "AIM": Case(
        make=lambda: trainers.AIM(
            tiny_vit(class_token=False, pooling="mean", positions="sincos"),
            layers.ResidualMLPHead(16, depth=1),
            layers.RandomPrefix(seed=0),
        ),
        decreasing_loss="loss",
        decrease=0.2,
        bad_data=BAD_PATCHES,
    ),
}


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class FixedPrefixes(keras.layers.Layer):
    """Prefixes of given lengths."""

    def call(self, tokens):
        return ops.convert_to_tensor([1, 5, 15] + [8] * (tokens.shape[0] - 3), "int32")


def make_trainer(**arguments):
    encoder = tiny_vit(class_token=False, pooling="mean")
    parts = {"encoder": encoder, "head": layers.ResidualMLPHead(8, 1), "masking": FixedPrefixes()}
    return made("AIM", **{**parts, **arguments})


def prefix_mask(prefix):
    """Return which of 16 patches may attend to which."""
    return np.tril(np.ones((16, 16), bool)) | (np.arange(16) < prefix)


def test_loss_matches_the_paper():
    trainer, x = make_trainer(), images()[0][:8]
    kernel, bias = (np.asarray(w, "float64") for w in trainer.to_targets.weights)
    pixels = patches_of(x)
    pixels = pixels - pixels.mean(-1, keepdims=True)
    pixels /= np.sqrt(pixels.var(-1, ddof=1, keepdims=True) + 1e-6)
    tokens = trainer.encoder.embed(x)
    losses = []
    for number, prefix in enumerate([1, 5, 15, 8, 8, 8, 8, 8]):
        outputs = trainer.encoder.encode(
            tokens[number : number + 1], (4, 4), attention_mask=prefix_mask(prefix)
        )["patch_tokens"]
        predicted = np.asarray(trainer.head(outputs), "float64")[0] @ kernel + bias
        error = (predicted[:-1] - pixels[number, 1:]) ** 2
        losses.append(error[prefix - 1 :].mean())
    assert loss_of(trainer, x) == pytest.approx(np.mean(losses), rel=1e-5)


def test_predictions_depend_on_the_patches_before_them_alone():
    trainer = make_trainer()
    x = tf.constant(images()[0][:4].astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        predicted, prefix = trainer.predict_next(x)
        # the sum of normalised features has no gradient, so powers of the predictions are taken
        of_patch = [tf.reduce_sum(predicted[:, k] ** 2) for k in range(15)]
    np.testing.assert_array_equal(prefix, [1, 5, 15, 8])
    for patch in (1, 5, 8, 15):  # predicted at the patch before
        gradient = patches_of(tape.gradient(of_patch[patch - 1], x).numpy())
        for row, length in zip(gradient, [1, 5, 15, 8], strict=True):
            seen = max(length, patch)
            np.testing.assert_array_equal(row[seen:], 0)
            assert (np.abs(row[:seen]).max(axis=-1) > 0).mean() > 0.5


def test_head_sees_each_patch_by_itself(rng):
    head = layers.ResidualMLPHead(8, depth=2)
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    found = np.asarray(head(x))
    assert found.shape == (2, 5, 8)
    np.testing.assert_allclose(head(x[:, 2:3])[:, 0], found[:, 2], rtol=1e-5, atol=1e-6)


def test_defaults_match_the_paper():
    trainer = trainers.AIM(tiny_vit(class_token=False, pooling="attention"))
    assert (trainer.head.width, trainer.head.depth) == (2048, 12)
    assert isinstance(trainer.masking, layers.RandomPrefix) and trainer.normalize_pixels


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": Mixer()}, TypeError, "attention_mask"),
        ({"encoder": tiny_vit()}, ValueError, "neither a class token.*with 1 such tokens"),
        (
            {"encoder": tiny_vit(class_token=False, registers=2, pooling="mean")},
            ValueError,
            "registers.*with 2 such tokens",
        ),
        ({"head": 2048}, TypeError, "`head`"),
        ({"masking": 3}, TypeError, "`masking`"),
        ({"masking": FixedMask([1])}, ValueError, r"\(batch,\).*Received: shape"),
        ({"pixel_scale": -1.0}, ValueError, "`pixel_scale`"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make_trainer(**arguments)
