"""Positions: rotation by complex numbers, sines, learned vectors between rows and columns."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from keras_ssl.layers.attention.positions import interpolation_matrix

REFERENCE = Path(__file__).parents[2] / "reference" / "published_weights.json"
STORED = json.loads(REFERENCE.read_text())["interpolation"]

to_numpy = ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, layer, shape, weights=0, **arguments):
        self.run_layer_test(
            layer,
            init_kwargs=arguments,
            input_shape=shape,
            expected_output_shape=shape,
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=0,
            run_training_check=False,
        )

    def test_rotary(self):
        self.check(layers.RotaryEmbedding, (2, 5, 3, 8), base=100.0, share=0.5, interleaved=True)

    def test_sinusoidal(self):
        self.check(layers.SinusoidalPositionalEncoding, (2, 5, 6), interleaved=True)
        arguments = {"grid": (2, 3), "extra_tokens": 1}
        self.check(layers.SinusoidalPositionalEncoding, (2, 7, 8), **arguments)

    def test_learned(self):
        self.check(layers.LearnedPositionalEmbedding, (2, 5, 6), 1, size=7, extra_tokens=1)
        self.check(layers.LearnedPositionalEmbedding, (2, 7, 8), 1, size=(2, 3), extra_tokens=1)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_rotary_turns_complex_numbers(interleaved, share, rng):
    x = rng.normal(size=(2, 6, 3, 8))
    width = round(8 * share)
    pairs = x[..., :width].reshape(*x.shape[:3], -1, 2)
    z = pairs[..., 0] + 1j * pairs[..., 1]
    if not interleaved:
        z = x[..., : width // 2] + 1j * x[..., width // 2 : width]
    for start in (0, 3):
        positions = (start + np.arange(6))[:, None, None]
        turned = z * np.exp(1j * positions * 50.0 ** (-2 * np.arange(width // 2) / width))
        expected = x.copy()
        if interleaved:
            expected[..., :width:2], expected[..., 1:width:2] = turned.real, turned.imag
        else:
            expected[..., :width] = np.concatenate([turned.real, turned.imag], axis=-1)
        layer = layers.RotaryEmbedding(base=50.0, share=share, interleaved=interleaved)
        np.testing.assert_allclose(to_numpy(layer(x, start=start)), expected, atol=1e-5)
        given = np.stack([start + np.arange(6)] * 2)
        np.testing.assert_allclose(to_numpy(layer(x, positions=given)), expected, atol=1e-5)


def test_rotary_keeps_far_positions_apart_in_half_precision():
    x = np.ones((1, 2, 1, 4), "float16")
    layer = layers.RotaryEmbedding(dtype="float16")
    one, other = to_numpy(layer(x, positions=np.array([4097, 4098])))[0, :, 0]
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("interleaved", [False, True])
def test_sines_of_a_sequence(interleaved):
    expected = np.zeros((7, 6))
    for p in range(7):
        for i in range(3):
            angle = (p + 2) / 10000 ** (2 * i / 6)
            expected[p, 2 * i if interleaved else i] = np.sin(angle)
            expected[p, 2 * i + 1 if interleaved else 3 + i] = np.cos(angle)
    layer = layers.SinusoidalPositionalEncoding(interleaved=interleaved)
    x = np.ones((2, 7, 6), "float32")
    np.testing.assert_allclose(to_numpy(layer(x, start=2)), np.stack([1 + expected] * 2), atol=1e-5)


def test_sines_of_a_grid_are_those_of_mae():
    """First half of the features of the column, second of the row; the class token gets 0."""
    rows, columns, width = 3, 5, 12

    def of_one(place):
        angles = place / 10000 ** (np.arange(width // 4) / (width / 4))
        return np.concatenate([np.sin(angles), np.cos(angles)])

    grid = [
        np.concatenate([of_one(column), of_one(row)])
        for row in range(rows)
        for column in range(columns)
    ]
    layer = layers.SinusoidalPositionalEncoding((rows, columns), extra_tokens=1)
    found = to_numpy(layer(np.zeros((1, 16, width), "float32")))[0]
    np.testing.assert_allclose(found, [np.zeros(width), *grid], atol=1e-6)


def learned(size, width=4, **arguments):
    layer = layers.LearnedPositionalEmbedding(size, **arguments)
    layer.build((None, None, width))
    return layer


def test_learned_vectors_are_added(rng):
    layer = learned(6, extra_tokens=1)
    x = rng.normal(size=(2, 4, 4)).astype("float32")
    vectors = to_numpy(layer.embeddings)
    assert vectors.shape == (7, 4) and 0.005 < vectors.std() < 0.03
    np.testing.assert_allclose(to_numpy(layer(x)), x + vectors[:4], rtol=1e-6)
    np.testing.assert_allclose(to_numpy(layer(x, start=3)), x + vectors[3:], rtol=1e-6)


def test_learned_vectors_at_given_positions(rng):
    layer = layers.LearnedPositionalEmbedding(5)
    x, places = rng.normal(size=(2, 3, 4)).astype("float32"), np.array([[0, 1, 0], [4, 2, 2]])
    found = to_numpy(layer(x, positions=places))
    np.testing.assert_allclose(found, x + to_numpy(layer.embeddings)[places], rtol=1e-6)


def test_learned_grids_are_interpolated():
    """Between two, cubic convolution weighs four neighbors; those beyond a margin are repeated."""
    layer = learned((4, 2), width=1, extra_tokens=1)
    layer.embeddings.assign(np.array([5.0, 1, 1, 2, 2, 4, 4, 8, 8])[:, None])
    found = to_numpy(layer(np.zeros((1, 1 + 8 * 3, 1), "float32"), grid=(8, 3)))[0, :, 0]
    assert found[0] == 5
    found = found[1:].reshape(8, 3)
    # the kernel with a = -0.75 at distances 1.25, 0.25, 0.75 and 1.75
    weights = np.array([-0.10546875, 0.87890625, 0.26171875, -0.03515625])
    rows = [[1, 1, 1, 2], [1, 1, 2, 4], [1, 2, 4, 8], [2, 4, 8, 8], [4, 8, 8, 8]]
    # place 2 k lies 0.75 behind number k - 1, and place 2 k + 1 lies 0.25 behind number k
    expected = np.zeros(8)
    expected[0::2] = [weights[::-1] @ row for row in rows[:4]]
    expected[1::2] = [weights @ row for row in rows[1:]]
    for column in range(3):
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-5)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize(("old", "new"), [(7, 11), (7, 3), (4, 4), (5, 1)])
def test_interpolation_equals_that_of_torch(old, new, antialias):
    """Stored by `tests/reference/make_published_weights.py`."""
    found = interpolation_matrix(old, new, antialias)
    np.testing.assert_allclose(found, STORED[f"{old}_{new}_{int(antialias)}"], atol=1e-6)


def test_longer_sequences_are_interpolated_if_asked_for():
    layer = learned(4, width=1, interpolate=True)
    layer.embeddings.assign(np.arange(4.0)[:, None])
    found = to_numpy(layer(np.zeros((1, 8, 1), "float32")))[0, :, 0]
    np.testing.assert_allclose(found, np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3), atol=1e-5)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX always knows the number of tokens"
)
def test_sequences_whose_length_the_graph_does_not_know():
    import tensorflow as tf

    def call(layer):
        layer.embeddings.assign(np.arange(5.0)[:, None])
        return tf.function(layer, input_signature=[tf.TensorSpec((None, None, 1), "float32")])

    short, long = np.zeros((1, 3, 1), "float32"), np.zeros((1, 9, 1), "float32")
    layer = learned(4, width=1, extra_tokens=1)
    np.testing.assert_allclose(call(layer)(short)[0, :, 0], [0, 1, 2])
    with pytest.raises(tf.errors.InvalidArgumentError, match="vectors for 5 positions"):
        call(layer)(long)
    layer = learned(4, width=1, extra_tokens=1, interpolate=True)
    np.testing.assert_allclose(call(layer)(short)[0, :, 0], [0, 1, 2])
    expected = [0, *(1 + np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3))]
    np.testing.assert_allclose(call(layer)(long)[0, :, 0], expected, atol=1e-5)
    np.testing.assert_allclose(to_numpy(layer(long))[0, :, 0], expected, atol=1e-5)


def test_relative_bias_has_one_number_for_each_offset():
    layer = layers.RelativePositionBias(2, (2, 3))
    heads = np.zeros((1, 7, 2, 4))
    layer.build(heads.shape, heads.shape)
    table = np.arange(36.0).reshape(18, 2)  # 3 * 5 offsets and 3 of the class token
    layer.table.assign(table)
    bias = to_numpy(layer(heads, heads))[0]
    places = [(row, column) for row in range(2) for column in range(3)]
    for head in range(2):
        assert bias[head, 0, 0] == table[17, head]
        assert set(bias[head, 0, 1:]) == {table[15, head]}
        assert set(bias[head, 1:, 0]) == {table[16, head]}
        for i, one in enumerate(places):
            for j, other in enumerate(places):
                row = (one[0] - other[0] + 1) * 5 + one[1] - other[1] + 2
                assert bias[head, 1 + i, 1 + j] == table[row, head]
    plain = layers.RelativePositionBias(2, (2, 3), class_token=False)
    heads = heads[:, 1:]
    plain.build(heads.shape, heads.shape)
    plain.table.assign(table[:15])
    np.testing.assert_array_equal(to_numpy(plain(heads, heads))[0], bias[:, 1:, 1:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RotaryEmbedding()(np.ones((1, 2, 1, 5))), "even and positive"),
        (lambda: layers.RotaryEmbedding(share=1.5), "`share` must be at most 1"),
        (lambda: layers.SinusoidalPositionalEncoding()(np.ones((1, 2, 5))), "divisible by 2"),
        (
            lambda: layers.SinusoidalPositionalEncoding((2, 2))(np.ones((1, 5, 8))),
            r"make 4 tokens.*Received: inputs of shape \(1, 5, 8\)",
        ),
        (lambda: learned(4)(np.ones((1, 5, 4))), "vectors for 4 positions.*larger `size`"),
        (lambda: learned(4)(np.ones((1, 2, 4)), start=3), "from position 3"),
        (lambda: learned((2, 2))(np.ones((1, 5, 4))), "are 4 tokens"),
        (lambda: learned((2, 2))(np.ones((1, 4, 4)), grid=(3, 3)), "are 9 tokens"),
        (lambda: learned(4)(np.ones((1, 4, 4)), grid=(2, 2)), "`grid` is for positions of a grid"),
        (
            lambda: layers.RelativePositionBias(1, (2, 2))(*[np.ones((1, 4, 1, 4))] * 2),
            "are 5 tokens. Received: 4 queries and 4 keys",
        ),
        (
            lambda: layers.RelativePositionBias(1, (2, 2))(*[np.ones((1, 5, 2, 4))] * 2),
            "num_heads=1 for queries of 2 heads",
        ),
    ],
)
def test_bad_inputs_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layers_save_and_load(tmp_path, rng):
    inputs = keras.Input((5, 16))
    x = layers.LearnedPositionalEmbedding((2, 2), extra_tokens=1)(inputs)
    attention = layers.MultiHeadAttention(
        4,
        rotary=layers.RotaryEmbedding(share=0.5),
        position_bias=layers.RelativePositionBias(4, (2, 2)),
        query_key_norm="layer",
    )
    model = keras.Model(inputs, attention(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = rng.normal(size=(2, 5, 16)).astype("float32")
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))
    assert len(loaded.weights) == len(model.weights) == 10
