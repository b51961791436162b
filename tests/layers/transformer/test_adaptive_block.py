"""The block of diffusion transformers: the formula, recomputation, bad input.

With its attention it is compared with diffusers in tests/networks/generative/test_dit.py.
"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import layers

to_numpy = ops.convert_to_numpy


def block_with_weights(**arguments):
    block = layers.AdaptiveTransformerBlock(2, 16, cross_attention=True, **arguments)
    block.build((2, 5, 8), (2, 6), (2, 3, 4))
    rng = np.random.default_rng(0)
    for weight in block.trainable_weights:
        weight.assign(rng.normal(0, 0.3, weight.shape))
    return block


def test_is_what_its_parts_compute(rng):
    block = block_with_weights()
    x, condition, context = (rng.normal(size=one) for one in ((2, 5, 8), (2, 6), (2, 3, 4)))
    modulation = condition @ to_numpy(block.modulation.kernel) + to_numpy(block.modulation.bias)
    b_1, s_1, g_1, b_2, s_2, g_2 = np.split(modulation[:, None], 6, axis=-1)

    def normalized(x):
        deviation = x - x.mean(axis=-1, keepdims=True)
        return deviation / np.sqrt((deviation**2).mean(axis=-1, keepdims=True) + 1e-6)

    expected = x + g_1 * to_numpy(block.attention(normalized(x) * (1 + s_1) + b_1))
    expected = expected + to_numpy(block.cross_attention(expected, context))
    hidden = normalized(expected) * (1 + s_2) + b_2
    expected = expected + g_2 * to_numpy(block.feed_forward(hidden))
    np.testing.assert_allclose(block(x, condition, context), expected, rtol=1e-4, atol=1e-4)
    again = layers.AdaptiveTransformerBlock.from_config(block.get_config())
    assert again.get_config() == block.get_config()


def test_recomputation_changes_nothing(rng):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken by TensorFlow; recomputation is tested on both")
    import tensorflow as tf

    inputs = [
        tf.constant(rng.normal(size=one), "float32") for one in ((2, 5, 8), (2, 6), (2, 3, 4))
    ]
    found = []
    for remat in (False, True):
        block = block_with_weights(dropout_rate=0.3, remat=remat, seed=0)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(block(*inputs, training=True) ** 2)
        watched = [*inputs, *(weight.value for weight in block.trainable_weights)]
        found.append([loss, *tape.gradient(loss, watched)])
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-3, atol=1e-3 * np.abs(plain).max())


def test_a_context_goes_with_cross_attention():
    x, condition = np.ones((1, 3, 8), "float32"), np.ones((1, 2), "float32")
    with pytest.raises(ValueError, match=r"`context`.*no `context`"):
        layers.AdaptiveTransformerBlock(2, 16, cross_attention=True)(x, condition)
    with pytest.raises(ValueError, match=r"`context`.*cross_attention=False"):
        layers.AdaptiveTransformerBlock(2, 16)(x, condition, x)
