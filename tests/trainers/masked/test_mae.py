"""MAE: its loss, its decoder, its parts, errors."""

import json
import runpy
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import data, evaluate, layers, networks, trainers
from keras_ssl.convert import _tensors
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

REFERENCE = Path(__file__).parents[2] / "reference"

CASES = {
    "MAE": Case(
        make=lambda: trainers.MAE(
            tiny_vit(positions="sincos"),
            layers.TokenDecoder(16, depth=1, num_heads=2),
            layers.RandomMasking(0.75, seed=0),
        ),
        decreasing_loss="loss",
        decrease=0.2,
        bad_data=BAD_PATCHES,
    ),
}


HIDDEN = (1, 3, 4, 5, 8, 9, 10, 15)
SEEN = (0, 2, 6, 7, 11, 12, 13, 14)


def decoder():
    return layers.TokenDecoder(16, depth=1, num_heads=2)


@pytest.mark.parametrize("normalize", [True, False])
def test_loss_matches_the_paper(normalize):
    trainer = made(
        "MAE",
        encoder=tiny_vit(),
        decoder=decoder(),
        masking=FixedMask(HIDDEN),
        normalize_pixels=normalize,
        pixel_scale=100.0,
    )
    x = images()[0][:8]
    grid, places = (4, 4), np.tile(SEEN, (8, 1)).astype("int32")
    tokens = np.asarray(trainer.encoder.embed(x))[:, SEEN]
    outputs = trainer.encoder.encode(tokens, grid, indices=places)
    known = np.concatenate([outputs["class_token"][:, None], outputs["patch_tokens"]], axis=1)
    asked = np.tile(HIDDEN, (8, 1)).astype("int32")
    decoded = np.asarray(trainer.decoder(known, places, asked, grid=grid), "float64")
    kernel, bias = (np.asarray(w, "float64") for w in trainer.to_targets.weights)
    pixels = patches_of(x)[:, HIDDEN] / 100
    if normalize:
        pixels = pixels * 100
        pixels = pixels - pixels.mean(axis=-1, keepdims=True)
        pixels /= np.sqrt(np.var(pixels, axis=-1, ddof=1, keepdims=True) + 1e-6)
    expected = np.mean((decoded @ kernel + bias - pixels) ** 2)
    assert loss_of(trainer, x) == pytest.approx(expected, rel=1e-5)


def test_encoder_sees_visible_patches_only(monkeypatch):
    trainer = made("MAE", encoder=tiny_vit(), decoder=decoder())
    shapes = []
    encode = trainer.encoder.encode

    def watched(tokens, *args, **kwargs):
        shapes.append(tuple(tokens.shape))
        return encode(tokens, *args, **kwargs)

    monkeypatch.setattr(trainer.encoder, "encode", watched)
    trainer.predict_hidden(images()[0][:8])
    assert shapes == [(8, 4, 16)]


def test_number_of_pixels_is_that_of_the_images():
    encoder = tiny_vit(input_shape=(28, 28, 3), class_token=False, pooling="mean")
    trainer = trainers.MAE(encoder, decoder())
    predicted, hidden = trainer.predict_hidden(np.zeros((2, 28, 28, 3), "float32"))
    assert predicted.shape == (2, 12, 147) and hidden.shape == (2, 12)


def test_reconstructions_keep_what_is_seen():
    trainer = made("MAE", encoder=tiny_vit(), decoder=decoder(), masking=FixedMask(HIDDEN))
    x = images()[0][:4].astype("float32")
    seen, filled = (patches_of(np.asarray(one)) for one in trainer.reconstruct(x))
    for found in (seen, filled):
        np.testing.assert_array_equal(found[:, SEEN], patches_of(x)[:, SEEN])
    # with a prediction of zeros, a patch is its mean
    trainer.to_targets.set_weights([np.zeros_like(w) for w in trainer.to_targets.get_weights()])
    filled = patches_of(np.asarray(trainer.reconstruct(x)[1]))[:, HIDDEN]
    mean = patches_of(x)[:, HIDDEN].mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(filled, np.broadcast_to(mean, filled.shape), rtol=1e-5)


def test_true_pixels_are_reconstructed_exactly(monkeypatch):
    trainer, x = trainers.MAE(tiny_vit(positions="sincos"), decoder()), images()[0][:4]

    def predict_the_truth(x, training=False):
        hidden = np.tile(HIDDEN, (len(x), 1)).astype("int32")
        return np.asarray(trainer.targets(x))[:, HIDDEN], hidden

    monkeypatch.setattr(trainer, "predict_hidden", predict_the_truth)
    np.testing.assert_allclose(trainer.reconstruct(x)[1], x, atol=0.05)


def test_defaults_match_the_paper():
    trainer = trainers.MAE(tiny_vit())
    parts = trainer.decoder
    assert (parts.width, parts.depth, parts.num_heads) == (512, 8, 16)
    assert trainer.masking.ratio == 0.75 and trainer.normalize_pixels


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": keras.layers.Dense(4)}, TypeError, "`encoder` must be a `keras_ssl.networks"),
        ({"encoder": Mixer()}, TypeError, "indices"),
        ({"decoder": 512}, TypeError, "`decoder`"),
        ({"masking": 0.75}, TypeError, "`masking`"),
        ({"masking": keras.layers.Dropout(0.5)}, TypeError, r"method `count\(tokens\)`"),
        ({"pixel_scale": 0.0}, ValueError, "`pixel_scale`"),
        ({"masking": FixedMask(range(16))}, ValueError, "leave at least one.*16 hidden of 16"),
        ({"masking": layers.RandomMasking(0.02)}, ValueError, "leave at least one.*16 tokens"),
        ({"encoder": tiny_vit(relative_bias="block")}, ValueError, "relative_bias"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        made("MAE", **{"encoder": tiny_vit(), "decoder": decoder(), **arguments})


def test_a_mask_of_another_shape_is_rejected():
    class PerPixel(FixedMask):
        def call(self, tokens):
            return ops.zeros(tokens.shape, "bool")

    with pytest.raises(ValueError, match=r"booleans of shape \(batch, tokens\)"):
        made("MAE", encoder=tiny_vit(), decoder=decoder(), masking=PerPixel(HIDDEN))


@pytest.mark.parametrize("normalize", [True, False])
def test_equals_transformers(normalize):
    """Stored by `tests/reference/make_mae_loss.py`."""
    stored = json.loads((REFERENCE / "mae_loss.json").read_text())
    script = runpy.run_path(str(REFERENCE / "make_published_weights.py"))
    tensors = {
        name.removeprefix("vit."): script["draw"](name, shape)
        for name, shape in stored["shapes"].items()
    }
    encoder = networks.vit(
        (8, 1, 2), (8, 8, 3), patch_size=2, hidden_dim=12, include_rescaling=False
    )
    trainer = trainers.MAE(
        encoder,
        layers.TokenDecoder(12, depth=2, num_heads=3),
        FixedMask(stored["hidden"]),
        normalize_pixels=normalize,
        pixel_scale=1.0,
    )
    x = script["draw_images"]((8, 8), 3)
    trainer.predict_hidden(x)  # builds
    decoder = trainer.decoder
    parts = [
        *_tensors.parts_of(encoder, "vit_mae", "layernorm"),
        *_tensors.dense_parts("decoder.decoder_embed", decoder.enter),
        *_tensors.norm_parts("decoder.decoder_norm", decoder.norm),
        *_tensors.dense_parts("decoder.decoder_pred", trainer.to_targets.dense),
    ]
    for number, block in enumerate(decoder.blocks):
        name = f"decoder.decoder_encoder.layer.{number}"
        parts += _tensors._parts_of_block(block, name, "vit_mae")
    for part in parts:
        part.assign(tensors)
    decoder.mask_token.assign(tensors["decoder.mask_token"].ravel())
    predicted, _ = trainer.predict_hidden(x)
    np.testing.assert_allclose(np.ravel(predicted), stored["predictions"], rtol=1e-4, atol=1e-5)
    assert loss_of(trainer, x) == pytest.approx(stored[f"loss_{int(normalize)}"], rel=1e-5)


@pytest.mark.full
def test_features_beat_those_of_a_random_encoder():
    """20 epochs of 4,000 images do not suffice to beat raw pixels, which have 784 features."""
    keras.utils.set_random_seed(1)
    train = data.load_images("fashion_mnist_mini", "train[:4000]")
    test = data.load_images("fashion_mnist_mini", "test[:2000]")
    encoder = networks.vit(
        (64, 3, 4), (28, 28, 1), patch_size=4, pooling="mean", positions="sincos"
    )
    trainer = trainers.MAE(encoder, layers.TokenDecoder(32, depth=1, num_heads=2))
    trainer.compile(keras.optimizers.AdamW(2e-3, weight_decay=0.05))
    x = np.stack([image for image, _ in train.as_numpy_iterator()])
    trainer.fit(x, batch_size=64, epochs=20, verbose=0)
    report = evaluate.representation_report(encoder, train.batch(256), test.batch(256), verbose=0)
    # with seed 0, k-NN exceeded that of the random encoder by 13.5 points, a linear probe by 4.6,
    # and with few labels by 11.7
    for measure, least in (
        ("knn_accuracy", 0.08),
        ("linear_probe", 0.02),
        ("few_label_probe", 0.06),
    ):
        assert report["encoder"][measure] > report["random encoder"][measure] + least, measure
