"""Decoder by cross-attention: a formula, what predictions depend on, errors."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import layers
from tests.layers.transformer.test_token_decoder import draw, sincos

to_numpy = ops.convert_to_numpy


def decoder(**arguments):
    keras.utils.set_random_seed(0)
    return layers.CrossTokenDecoder(**{"width": 8, "depth": 2, "num_heads": 2, **arguments})


@pytest.mark.parametrize("extra", [0, 2])
def test_equals_attention_to_known_tokens_and_feed_forward_networks(rng, extra):
    tokens, places, targets = draw(rng, extra)
    layer = decoder(output_dim=7)
    found = to_numpy(layer(tokens, places, targets, grid=(3, 4)))
    known = to_numpy(layer.enter(tokens)).astype("float64")
    known[:, extra:] += sincos(places, 8)
    known = layer.known_norm(known.astype("float32"))
    z = (to_numpy(layer.mask_token) + sincos(targets, 8)).astype("float32")
    for block in layer.blocks:
        z = z + block.attention(block.norm(z), known)
        z = z + block.feed_forward(block.feed_forward_norm(z))
    expected = to_numpy(layer.leave(layer.norm(z)))
    assert found.shape == (3, 6, 7)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_predictions_do_not_depend_on_one_another_nor_on_the_order_of_known_tokens(rng):
    tokens, places, targets = draw(rng)
    layer = decoder()
    found = to_numpy(layer(tokens, places, targets, grid=(3, 4)))
    some = to_numpy(layer(tokens, places, targets[:, 1:3], grid=(3, 4)))
    np.testing.assert_allclose(some, found[:, 1:3], atol=1e-5)
    order = rng.permutation(6)
    same = to_numpy(layer(tokens[:, order], places[:, order], targets, grid=(3, 4)))
    np.testing.assert_allclose(same, found, atol=1e-5)
    other = to_numpy(layer(tokens + rng.normal(size=5), places, targets, grid=(3, 4)))
    assert np.abs(other - found).max() > 1e-3


def test_config_makes_an_equal_layer():
    layer = decoder(depth=1, output_dim=3, seed=4)
    copy = layers.CrossTokenDecoder.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()


def test_targets_and_heads_are_checked(rng):
    tokens, places, _ = draw(rng)
    with pytest.raises(ValueError, match="`targets` must be the places to predict"):
        decoder()(tokens, places, grid=(3, 4))
    with pytest.raises(ValueError, match="`num_heads` must be a divisor of `width`"):
        decoder(num_heads=3)
