"""Attention pooling in functional models."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers


def test_a_mask_by_position_in_a_functional_model(rng):
    x = rng.normal(size=(2, 5, 8)).astype("float32")
    mask = np.array([[1, 1, 1, 0, 0], [1] * 5], bool)
    inputs = [keras.Input((5, 8)), keras.Input((5,), dtype="bool")]
    layer = layers.AttentionPooling(2)
    found = keras.Model(inputs, layer(*inputs))([x, mask])
    np.testing.assert_allclose(found[:1], layer(x[:1, :3]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1:], layer(x[1:]), rtol=1e-4, atol=1e-5)
    again = layers.AttentionPooling(2)
    model = keras.Model(inputs, again(*inputs, return_attention_scores=True))
    again.set_weights(layer.get_weights())
    outputs, scores = model([x, mask])
    np.testing.assert_allclose(outputs, found, rtol=1e-4, atol=1e-5)
    assert scores.shape == (2, 2, 5) and np.all(ops.convert_to_numpy(scores)[0, :, 3:] < 1e-6)


class TestConformance(TestCase):
    def test_additive(self):
        self.run_layer_test(
            layers.AdditiveAttentionPooling,
            init_kwargs={"units": 3},
            input_shape=(2, 5, 4),
            expected_output_shape=(2, 4),
            supports_masking=True,
        )


def test_additive_pooling_equals_the_formula(rng):
    x = rng.normal(size=(2, 5, 8))
    mask = np.array([[1, 1, 1, 0, 0], [0] * 5], bool)
    layer = layers.AdditiveAttentionPooling(3)
    layer.build(x.shape)
    layer.bias.assign(rng.normal(size=3))
    kernel, bias, scorer = (ops.convert_to_numpy(one).astype("float64") for one in layer.weights)
    scores = np.tanh(x @ kernel + bias) @ scorer[:, 0]
    weights = np.where(mask, np.exp(scores), 0)
    weights[0] /= weights[0].sum()  # in the other example all is padding, so that nothing counts
    found, scored = layer(x.astype("float32"), mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(scored, weights, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, np.einsum("bt,btc->bc", weights, x), rtol=1e-5, atol=1e-6)


def test_additive_pooling_refuses_bad_input():
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        layers.AdditiveAttentionPooling(0)
    with pytest.raises(ValueError, match=r"`inputs` must be tokens.*\(2, 5\)"):
        layers.AdditiveAttentionPooling(3)(np.ones((2, 5), "float32"))
