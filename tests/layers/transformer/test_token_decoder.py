"""Decoder of masked tokens: a float64 formula, order of tokens, extra tokens, errors."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers

to_numpy = ops.convert_to_numpy


class OnGrid(layers.TokenDecoder):
    """The decoder of one grid, since Keras' test does not pass arguments to functional models."""

    def call(self, inputs, indices, targets, training=None):
        return super().call(inputs, indices, targets, grid=(2, 3), training=training)


class TestConformance(TestCase):
    def test_layer(self):
        for output_dim, weights in ((None, 17), (5, 19)):
            self.run_layer_test(
                OnGrid,
                custom_objects={"OnGrid": OnGrid},
                init_kwargs={"width": 8, "depth": 1, "num_heads": 2, "output_dim": output_dim},
                input_shape={
                    "inputs_shape": (2, 4, 6),
                    "indices_shape": (2, 3),
                    "targets_shape": (2, 2),
                },
                input_dtype={
                    "inputs_shape": "float32",
                    "indices_shape": "int32",
                    "targets_shape": "int32",
                },
                expected_output_shape=(2, 2, output_dim or 8),
                expected_num_trainable_weights=weights,
                run_training_check=False,
            )


def decoder(**arguments):
    keras.utils.set_random_seed(0)
    return layers.TokenDecoder(**{"width": 8, "depth": 2, "num_heads": 2, **arguments})


def draw(rng, extra=0):
    """Return tokens at 6 places of a grid of 3x4, and the other places."""
    places = np.stack([rng.permutation(12) for _ in range(3)]).astype("int32")
    tokens = rng.normal(size=(3, extra + 6, 5)).astype("float32")
    return tokens, places[:, :6], places[:, 6:]


def sincos(places, width, rows=3, columns=4):
    """Return MAE's positions: half of the features for the column, half for the row."""
    angle = 1 / 10000 ** (np.arange(width // 4) / (width // 4))
    parts = []
    for place in (places % columns, places // columns):
        parts += [np.sin(place[..., None] * angle), np.cos(place[..., None] * angle)]
    return np.concatenate(parts, axis=-1)


@pytest.mark.parametrize("extra", [0, 1, 3])
def test_equals_blocks_on_tokens_with_their_positions(rng, extra):
    tokens, places, targets = draw(rng, extra)
    layer = decoder(output_dim=7)
    found = to_numpy(layer(tokens, places, targets, grid=(3, 4)))
    x = to_numpy(layer.enter(tokens)).astype("float64")
    x[:, extra:] += sincos(places, 8)
    asked = to_numpy(layer.mask_token) + sincos(targets, 8)
    x = np.concatenate([x, asked], axis=1)
    for block in layer.blocks:
        x = to_numpy(block(x.astype("float32")))
    expected = to_numpy(layer.leave(layer.norm(x[:, -6:])))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_order_of_tokens_does_not_matter(rng):
    tokens, places, targets = draw(rng, extra=1)
    layer = decoder()
    expected = to_numpy(layer(tokens, places, targets, grid=(3, 4)))
    known, asked = rng.permutation(6), rng.permutation(6)
    moved = np.concatenate([tokens[:, :1], tokens[:, 1:][:, known]], axis=1)
    found = to_numpy(layer(moved, places[:, known], targets[:, asked], grid=(3, 4)))
    np.testing.assert_allclose(found, expected[:, asked], rtol=1e-4, atol=1e-5)
    elsewhere = to_numpy(layer(tokens, np.roll(places, 1, axis=1), targets, grid=(3, 4)))
    assert np.abs(elsewhere - expected).max() > 1e-3


def test_grid_may_change_between_calls(rng):
    tokens, places, targets = draw(rng)
    layer = decoder()
    wide = to_numpy(layer(tokens, places, targets, grid=(3, 4)))
    high = to_numpy(layer(tokens, places, targets, grid=(4, 3)))
    assert wide.shape == high.shape == (3, 6, 8) and np.abs(wide - high).max() > 1e-3


def test_stochastic_depth_increases_from_block_to_block():
    layer = decoder(depth=3, drop_path_rate=0.4, seed=0)
    rates = [block.drop_path_rate for block in layer.blocks]
    np.testing.assert_allclose(rates, [0, 0.2, 0.4])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 0}, ValueError, "`width`"),
        ({"depth": 0}, ValueError, "`depth`"),
        ({"depth": 1.0}, TypeError, "`depth`"),
        ({"num_heads": 3}, ValueError, "divisor of `width`.*num_heads=3, width=8"),
        ({"output_dim": 0}, ValueError, "`output_dim`"),
        ({"drop_path_rate": 1.0}, ValueError, "`drop_path_rate`"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        decoder(**arguments)


def test_more_places_than_tokens_are_refused(rng):
    tokens, places, targets = draw(rng)
    with pytest.raises(ValueError, match="a token for each of `indices`"):
        decoder()(tokens[:, 1:], places, targets, grid=(3, 4))


def test_without_targets_the_known_tokens_are_decoded(rng):
    """A decoder of two blocks equals its blocks on tokens with positions."""
    layer = layers.TokenDecoder(width=8, depth=2, num_heads=2)
    x = rng.normal(size=(2, 6, 5)).astype("float32")
    found = layer(x, grid=(2, 3))
    assert all("mask_token" not in weight.path for weight in layer.weights)
    expected = layers.SinusoidalPositionalEncoding((2, 3))(layer.enter(x))
    for block in layer.blocks:
        expected = block(expected)
    np.testing.assert_allclose(found, layer.norm(expected), rtol=1e-5, atol=1e-6)
    places = np.tile(np.arange(6, dtype="int32"), (2, 1))
    np.testing.assert_allclose(layer(x, places, grid=(2, 3)), found, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`targets` need a mask token"):
        layer(x, places, places, grid=(2, 3))
