"""Attention pooling in functional models."""

import keras
import numpy as np
from keras import ops

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
