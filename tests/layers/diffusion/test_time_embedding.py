"""Times as features, against the formula in float64."""

import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers


class TestConformance(TestCase):
    def test_layer(self):
        self.run_layer_test(
            layers.TimeEmbedding,
            init_kwargs={"width": 6, "frequencies": 4, "max_period": 100.0},
            input_shape=(3,),
            expected_output_shape=(3, 6),
            expected_num_trainable_weights=4,
        )


def test_equals_the_formula(set_dtype_policy):
    set_dtype_policy("mixed_float16")  # in which a time is not rounded
    layer = layers.TimeEmbedding(3, 8, max_period=1000.0)
    time = np.array([0.0, 3.25, 998.4])
    outputs = layer(time.astype("float32"))
    angles = time[:, None] * 1000.0 ** -(np.arange(4) / 4)
    waves = np.concatenate([np.cos(angles), np.sin(angles)], axis=-1)
    weights = [np.float64(ops.convert_to_numpy(weight)) for weight in layer.weights]
    hidden = waves @ weights[0] + weights[1]
    expected = hidden / (1 + np.exp(-hidden)) @ weights[2] + weights[3]
    np.testing.assert_allclose(np.float64(outputs), expected, rtol=1e-2, atol=3e-3)


def test_wrong_arguments_raise():
    with pytest.raises(ValueError, match=r"`frequencies` must be even.*Received"):
        layers.TimeEmbedding(4, 5)
    with pytest.raises(ValueError, match=r"`width`.*Received"):
        layers.TimeEmbedding(0)
