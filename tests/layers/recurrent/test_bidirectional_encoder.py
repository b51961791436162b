import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers


class TestConformance(TestCase):
    def test_encoder(self):
        self.run_layer_test(
            layers.BidirectionalEncoder,
            init_kwargs={"units": 3, "cell": "gru", "depth": 2, "dropout_rate": 0.1, "seed": 1},
            input_shape=(2, 5, 4),
            expected_output_shape=(2, 6),
            supports_masking=True,
        )


def test_padding_changes_nothing_and_has_no_weight(rng):
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    mask = np.array([[1, 1, 1, 0, 0], [1] * 5], bool)
    layer = layers.BidirectionalEncoder(3, depth=2)
    vectors, weights = layer(x, mask=mask, return_attention_scores=True)
    assert vectors.shape == (2, 6) and weights.shape == (2, 5)
    np.testing.assert_allclose(layer(x[:1, :3]), vectors[:1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.sum(weights, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(weights[0, 3:], 0)


def test_directions_are_those_of_keras(rng):
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    layer = layers.BidirectionalEncoder(3)
    layer.build(x.shape)
    reference = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))
    reference.build(x.shape)
    reference.set_weights(layer.recurrent[0].get_weights())
    np.testing.assert_allclose(layer(x), layer.pooling(reference(x)), rtol=1e-5, atol=1e-6)


def test_a_functional_model_finds_the_mask(rng):
    inputs = keras.Input((None,), dtype="int32")
    h = keras.layers.Embedding(10, 4, mask_zero=True)(inputs)
    outputs = layers.BidirectionalEncoder(3)(h, return_attention_scores=True)
    model = keras.Model(inputs, outputs)
    ids = np.array([[1, 2, 0, 0], [3, 4, 5, 6]])
    vectors, weights = model(ids)
    np.testing.assert_allclose(model(ids[:1, :2])[0], vectors[:1], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(weights)[0, 2:], 0)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="`cell` must be one of"):
        layers.BidirectionalEncoder(3, cell="elman")
    with pytest.raises(ValueError, match="`depth` must be a positive integer"):
        layers.BidirectionalEncoder(3, depth=0)
    with pytest.raises(ValueError, match=r"`inputs` must be sequences.*\(2, 5\)"):
        layers.BidirectionalEncoder(3)(np.ones((2, 5), "float32"))
