"""A text encoder in front of a denoiser: its tokens, padding, texts left out, and what learns."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import networks

to_numpy = ops.convert_to_numpy


def text_encoder(**changes):
    arguments = {"vocabulary_size": 20, "max_length": 6, "seed": 0, **changes}
    return networks.text_transformer((8, 1, 2), **arguments)


def unet(rng, tokens_mask=True):
    model = networks.diffusion_unet(
        (4, 4, 2), (8,), 1, (0,), num_classes=3, token_dim=8, tokens_mask=tokens_mask
    )
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.3, weight.shape))
    return model


def inputs_of(rng):
    """A text and its padding, the same one with other padding, and one that is left out."""
    ids = np.array([[2, 7, 3, 0, 0], [2, 7, 3, 9, 9], [0, 0, 0, 0, 0]])
    return {
        "x": np.repeat(rng.normal(size=(1, 4, 4, 2)), 3, axis=0).astype("float32"),
        "time": np.full(3, 5.0, "float32"),
        "label": np.full(3, 1),
        "tokens": ids,
        "tokens_mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool),
    }


@pytest.mark.parametrize("pooling", ["last", None])
def test_is_the_denoiser_of_the_encoders_tokens(rng, tmp_path, pooling):
    inner, encoder, inputs = unet(rng), text_encoder(pooling=pooling), inputs_of(rng)
    model = networks.text_conditioned(inner, encoder)
    found = to_numpy(model(inputs))
    features = encoder.encode(
        {"token_ids": inputs["tokens"], "padding_mask": inputs["tokens_mask"]}
    )["tokens"]
    features = to_numpy(features) * np.array([1, 1, 0])[:, None, None]
    np.testing.assert_allclose(found, inner({**inputs, "tokens": features}), rtol=1e-5, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() < 1e-5  # padding says nothing
    assert np.abs(found[0] - found[2]).max() > 1e-2
    # nothing is nothing at any length
    longer = {**inputs, "tokens": np.zeros((3, 6), int), "tokens_mask": np.ones((3, 6), bool)}
    np.testing.assert_allclose(model(longer)[2], found[2], rtol=1e-5, atol=1e-5)

    model.save(tmp_path / "denoiser.keras")
    loaded = keras.models.load_model(tmp_path / "denoiser.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(inputs), found, rtol=1e-5, atol=1e-5)


def test_any_layer_of_ids_conditions_a_transformer_without_a_mask(rng):
    inner = networks.dit((8, 1, 2), (4, 4, 2), token_dim=5)
    for weight in inner.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.3, weight.shape))
    embed = keras.layers.Embedding(20, 5)
    model = networks.text_conditioned(inner, embed)
    inputs = {name: one for name, one in inputs_of(rng).items() if name in ("x", "time", "tokens")}
    tokens = to_numpy(embed(inputs["tokens"])) * np.array([1, 1, 0])[:, None, None]
    np.testing.assert_allclose(
        model(inputs), inner({**inputs, "tokens": tokens}), rtol=1e-5, atol=1e-5
    )


def test_a_frozen_encoder_neither_learns_nor_drops(rng, tmp_path):
    inputs = inputs_of(rng)
    encoder = text_encoder(dropout_rate=0.5)
    learning = networks.text_conditioned(unet(rng), encoder)
    own = len(encoder.trainable_weights)
    assert own and len(learning.trainable_weights) > own
    assert np.abs(learning(inputs, training=True) - learning(inputs, training=False)).max() > 1e-3
    encoder = text_encoder(dropout_rate=0.5)
    encoder.trainable = False
    frozen = networks.text_conditioned(unet(rng), encoder)
    assert len(frozen.trainable_weights) == len(learning.trainable_weights) - own
    np.testing.assert_allclose(
        frozen(inputs, training=True), frozen(inputs, training=False), rtol=1e-5, atol=1e-6
    )
    frozen.save(tmp_path / "denoiser.keras")
    loaded = keras.models.load_model(tmp_path / "denoiser.keras")
    assert len(loaded.trainable_weights) == len(frozen.trainable_weights)


def test_parts_that_do_not_fit_are_refused(rng):
    encoder = text_encoder()
    with pytest.raises(TypeError, match=r"`denoiser` must be a `keras\.Model`"):
        networks.text_conditioned("unet", encoder)
    with pytest.raises(TypeError, match="`text_encoder` must be a Keras layer"):
        networks.text_conditioned(unet(rng), "encoder")
    with pytest.raises(ValueError, match=r"takes 'tokens'.*Received: \['time', 'x'\]"):
        networks.text_conditioned(networks.diffusion_unet((4, 4, 1), (8,), 1), encoder)
    with pytest.raises(ValueError, match=r"\(None, None, 8\).*shape \(None, None, 5\)"):
        networks.text_conditioned(unet(rng, tokens_mask=False), keras.layers.Embedding(20, 5))
