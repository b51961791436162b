"""Patch embedding against Keras' convolution, and the learned tokens beside patches."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers

to_numpy = ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, layer, shape, output, weights=1, **arguments):
        self.run_layer_test(
            layer,
            init_kwargs=arguments,
            input_shape=shape,
            expected_output_shape=output,
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=0,
        )

    def test_patch_embedding(self):
        arguments = {"patch_size": (2, 4), "width": 5}
        self.check(layers.PatchEmbedding, (2, 6, 8, 3), (2, 6, 5), 2, **arguments)
        self.check(layers.PatchEmbedding, (2, 6, 8, 3), (2, 6, 5), 1, use_bias=False, **arguments)

    def test_class_token(self):
        self.check(layers.ClassToken, (2, 4, 3), (2, 5, 3), initializer="ones")

    def test_registers(self):
        self.check(layers.RegisterTokens, (2, 4, 3), (2, 6, 3), count=2, position=3)


def test_equals_the_convolution_of_keras(rng):
    images = rng.normal(size=(2, 12, 8, 3)).astype("float32")
    convolution = keras.layers.Conv2D(7, (3, 4), strides=(3, 4), bias_initializer="ones")
    expected = to_numpy(convolution(images)).reshape(2, 8, 7)
    layer = layers.PatchEmbedding((3, 4), 7)
    layer.build(images.shape)
    kernel, bias = convolution.get_weights()
    layer.set_weights([kernel.reshape(-1, 7), bias])
    np.testing.assert_allclose(to_numpy(layer(images)), expected, rtol=1e-4, atol=1e-5)
    assert layer.grid(images.shape) == (4, 2)


def test_kernel_is_initialized_as_a_matrix():
    layer = layers.PatchEmbedding(8, 192)
    layer.build((None, 32, 32, 3))
    limit = np.sqrt(6 / (192 + 192))
    assert 0.97 * limit < np.abs(to_numpy(layer.kernel)).max() <= limit


def test_learned_tokens_are_put_in_their_places(rng):
    x = rng.normal(size=(3, 4, 5)).astype("float32")
    token, registers = layers.ClassToken(), layers.RegisterTokens(2)
    for layer in (token, registers):
        layer.build(x.shape)
    token.set_weights([np.full((1, 5), 7.0)])
    registers.set_weights([np.array([[8.0] * 5, [9.0] * 5])])
    found = to_numpy(registers(token(x)))
    np.testing.assert_array_equal(found[:, 3:], x)
    np.testing.assert_array_equal(found[:, :3, 0], [[7, 8, 9]] * 3)


def test_learned_tokens_are_never_padding():
    embedding = keras.layers.Embedding(6, 5, mask_zero=True)
    tokens = layers.ClassToken()(embedding(np.array([[3, 1, 0], [2, 0, 0]])))
    tokens = layers.RegisterTokens(2)(tokens)
    expected = [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0]]
    np.testing.assert_array_equal(to_numpy(tokens._keras_mask), np.array(expected, bool))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.PatchEmbedding(0, 4), ValueError, "patch_size"),
        (lambda: layers.PatchEmbedding(4, 2.5), TypeError, "width"),
        (
            lambda: layers.PatchEmbedding(16, 4)(np.ones((1, 220, 224, 3))),
            ValueError,
            r"Resize them to \(224, 224\).*Received: images of \(220, 224\)",
        ),
        (
            lambda: layers.PatchEmbedding(4, 4)(keras.Input((None, 32, 3))),
            ValueError,
            "known height and width",
        ),
        (lambda: layers.RegisterTokens(0), ValueError, "count"),
        (
            lambda: layers.RegisterTokens(1, position=5)(np.ones((1, 4, 2))),
            ValueError,
            "position=5",
        ),
        (lambda: layers.ClassToken()(np.ones((2, 4))), ValueError, r"Received: shape \(2, 4\)"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
