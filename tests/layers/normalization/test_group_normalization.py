"""Group normalization with activation and modulation, against Keras and float64."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers

to_numpy = ops.convert_to_numpy


class TestConformance(TestCase):
    def test_layer(self):
        self.run_layer_test(
            layers.GroupNormalization,
            init_kwargs={"groups": 2, "epsilon": 1e-3, "activation": "silu"},
            input_shape=(2, 3, 4, 6),
            expected_output_shape=(2, 3, 4, 6),
            expected_num_trainable_weights=2,
        )


def test_equals_keras(rng):
    for arguments in ({}, {"scale": False, "center": False}):
        x = rng.normal(3, 2, (2, 3, 5, 8)).astype("float32")
        ours = layers.GroupNormalization(4, 1e-3, **arguments)
        theirs = keras.layers.GroupNormalization(4, epsilon=1e-3, **arguments)
        for layer in (ours, theirs):
            layer.build(x.shape)
        for own, other in zip(ours.weights, theirs.weights, strict=True):
            own.assign(rng.normal(size=own.shape))
            other.assign(own)
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_another_axis_raises():
    with pytest.raises(ValueError, match=r"`axis` must be -1.*Received"):
        layers.GroupNormalization(2, axis=1)
