"""BEiT and BEiT v2: their losses, the tokenizer, patch aggregation, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import layers, networks, trainers
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
from tests.trainers.masked.test_vqkd import parts as parts_of_vqkd
from tests.trainers.small import images

HIDDEN = (1, 4, 5, 6, 9, 10)


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class Brightness(keras.layers.Layer):
    """A tokenizer without weights: four grey levels of each 7x7 patch."""

    codes = 4

    def call(self, x):
        x = ops.mean(ops.reshape(ops.cast(x, "float32"), (-1, 4, 7, 4, 7)), axis=(2, 4))
        return ops.reshape(ops.cast(ops.clip(x // 40, 0, 3), "int32"), (-1, 16))


def grey_levels(x):
    """Return the tokens of `Brightness`."""
    return np.clip(patches_of(x).mean(axis=-1) // 40, 0, 3).astype("int32")


def of_beit():
    return {
        "encoder": tiny_vit(positions=None, relative_bias="shared", layer_scale=0.1),
        "tokenizer": Brightness(),
        "masking": layers.BlockMasking((4, 4), 0.4, min_tokens=2, seed=0),
    }


def of_beit_v2():
    return {
        "encoder": tiny_vit(registers=1),
        "tokenizer": Brightness(),
        "masking": layers.BlockMasking((4, 4), 0.4, min_tokens=2, seed=0),
        "decoder": layers.TransformerEncoderBlock(2, 32),
    }


CASES = {
    "BEiT": Case(
        make=lambda: trainers.BEiT(**of_beit()),
        decreasing_loss="loss",
        decrease=0.07,
        bad_data=BAD_PATCHES,
    ),
    "BEiTv2": Case(
        make=lambda: trainers.BEiTv2(**of_beit_v2()),
        decreasing_loss="loss",
        decrease=0.2,
        epochs=6,
        bad_data=BAD_PATCHES,
    ),
}


def cross_entropy(logits, tokens):
    logits = np.asarray(logits, "float64")
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_p, tokens[..., None], axis=-1).mean()


def outputs_by_hand(trainer, x):
    """Return what the encoder makes of patches and mask tokens."""
    patches = np.array(trainer.encoder.embed(x))
    patches[:, HIDDEN] = np.asarray(trainer.mask_token.token)
    return trainer.encoder.encode(patches, (4, 4))


def test_tokens_of_the_small_tokenizer():
    x = images()[0][:16]
    np.testing.assert_array_equal(Brightness()(x), grey_levels(x))
    assert len(np.unique(grey_levels(x))) == 4


def test_loss_of_beit_matches_the_paper():
    trainer, x = made("BEiT", **{**of_beit(), "masking": FixedMask(HIDDEN)}), images()[0][:8]
    logits = trainer.head(outputs_by_hand(trainer, x)["patch_tokens"])
    expected = cross_entropy(logits, grey_levels(x)[:, :])
    hidden = cross_entropy(np.asarray(logits)[:, HIDDEN], grey_levels(x)[:, HIDDEN])
    assert loss_of(trainer, x) == pytest.approx(hidden, rel=1e-5)
    assert abs(hidden - expected) > 1e-4  # the loss is of hidden patches alone


def test_losses_of_beit_v2_match_the_paper():
    trainer = made("BEiTv2", **{**of_beit_v2(), "masking": FixedMask(HIDDEN)})
    x, tokens = images()[0][:8], grey_levels(images()[0][:8])[:, HIDDEN]
    outputs = outputs_by_hand(trainer, x)
    first, last = (np.asarray(block) for block in outputs["blocks"])
    # the class token and a register come before the patches
    decoded = trainer.decoder(np.concatenate([last[:, :1], first[:, 2:]], axis=1))
    decoded = np.asarray(decoded, "float64")
    variance = decoded.var(axis=-1, keepdims=True)
    decoded = (decoded - decoded.mean(axis=-1, keepdims=True)) / np.sqrt(variance + 1e-6)
    expected = {
        "prediction": cross_entropy(
            trainer.head(outputs["patch_tokens"].numpy()[:, HIDDEN]), tokens
        ),
        "aggregation": cross_entropy(
            trainer.head(decoded[:, 1:][:, HIDDEN].astype("float32")), tokens
        ),
    }
    found = trainer.compute_losses(trainers.Batch(x, x), training=False)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.mean(found[name]) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", ["BEiT", "BEiTv2"])
def test_predictions_do_not_see_hidden_patches(name, rng):
    arguments = of_beit() if name == "BEiT" else of_beit_v2()
    trainer = made(name, **{**arguments, "masking": FixedMask(HIDDEN)})
    x = tf.constant(images()[0][:8].astype("float32"))
    for loss in ("prediction", "aggregation")[: 1 + (name == "BEiTv2")]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = trainer.logits_by_loss(x, training=False)[0][loss]
            total = tf.reduce_sum(logits * rng.normal(size=logits.shape).astype("float32"))
        gradient = np.abs(patches_of(tape.gradient(total, x).numpy())).max(axis=-1)
        np.testing.assert_array_equal(gradient[:, HIDDEN], 0)
        assert np.all(np.delete(gradient, HIDDEN, axis=1) > 0)


@pytest.mark.full
def test_a_trained_vqkd_is_a_tokenizer_also_in_a_file(tmp_path):
    x = images()[0][:16]
    vqkd = made("VQKD", **parts_of_vqkd())
    tokens, codebook = np.asarray(vqkd.tokenize(x)), np.asarray(vqkd.quantizer.codebook)
    trainer = made("BEiT", **{**of_beit(), "tokenizer": vqkd})
    assert trainer.head.units == 12
    learned = {id(w) for w in trainer.trainable_weights}
    assert not learned & {id(w) for w in vqkd.tokenizer.weights}
    trainer.train_on_batch(x)
    np.testing.assert_array_equal(vqkd.quantizer.codebook, codebook)
    trainer.save(tmp_path / "beit.keras")
    loaded = keras.saving.load_model(tmp_path / "beit.keras")
    np.testing.assert_array_equal(loaded.tokenizer(x), tokens)
    assert len(np.unique(tokens)) > 1


def test_defaults_match_the_paper():
    trainer = trainers.BEiTv2(tiny_vit(), PatchNumbers())
    assert trainer.masking.grid == (14, 14) and trainer.masking.ratio == 0.4
    assert trainer.head.units == 8192
    assert len(trainer.decoder.layers) == 2


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class PatchNumbers(keras.layers.Layer):
    """A tokenizer that says neither how many codes it has nor its grid."""

    def call(self, x):
        return ops.broadcast_to(ops.arange(16), (ops.shape(x)[0], 16))


class Floats(PatchNumbers):
    def call(self, x):
        return ops.cast(super().call(x), "float32")


class TooMany(PatchNumbers):
    def call(self, x):
        return ops.zeros((ops.shape(x)[0], 49), "int32")


def of_other_patches():
    return networks.PatchTokenizer(
        tiny_vit(patch_size=14), layers.ProjectionHead((4,)), layers.VectorQuantizer(5)
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"encoder": keras.layers.Dense(4)}, TypeError, "`encoder` must be a `keras_ssl.networks"),
        ({"tokenizer": "dall-e"}, TypeError, "`tokenizer`"),
        ({"tokenizer": Floats()}, TypeError, "`tokenizer` must return integers.*float32"),
        ({"tokenizer": TooMany()}, ValueError, r"grid is \(4, 4\).*\(8, 49\)"),
        ({"tokenizer": of_other_patches()}, ValueError, r"grid is \(4, 4\).*grid of \(2, 2\)"),
        ({"head": 8192}, TypeError, "`head`"),
        ({"head": keras.layers.Dense(3)}, ValueError, "each of the 4 codes.*3 logits"),
        ({"masking": 0.4}, TypeError, "`masking`"),
        ({"masking": layers.BlockMasking((14, 14))}, ValueError, "16 tokens"),
    ],
)
def test_invalid_arguments_are_rejected_before_the_first_step(changes, error, message):
    with pytest.raises(error, match=message):
        made("BEiT", **{**of_beit(), **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"decoder": 2}, TypeError, "`decoder`"),
        ({"early_block": 0}, ValueError, "`early_block`"),
        ({"early_block": 2}, ValueError, "before the last of the encoder's 2 blocks"),
        ({"encoder": Mixer()}, ValueError, "'blocks' and 'class_token'"),
        ({"encoder": tiny_vit(class_token=False, pooling="mean")}, ValueError, "'class_token'"),
    ],
)
def test_invalid_arguments_of_beit_v2_are_rejected(changes, error, message):
    with pytest.raises(error, match=message):
        made("BEiTv2", **{**of_beit_v2(), **changes})
