import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers import PredictionHead, ProjectionHead


class TestConformance(TestCase):
    def check(self, weights, statistics, **arguments):
        self.run_layer_test(
            PredictionHead,
            init_kwargs=arguments,
            input_shape=(8, 6),
            expected_output_shape=(8, 6),
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=statistics,
            expected_num_seed_generators=0,
        )

    def test_byol(self):
        self.check(5, 2, width=12)

    def test_without_normalization(self):
        self.check(4, 0, width=12, normalization=False, activation="gelu")

    def test_other_normalization(self):
        self.check(5, 0, width=12, normalization=keras.layers.LayerNormalization())


def test_equals_projection_head_as_wide_as_its_input(rng):
    x = rng.normal(size=(5, 6)).astype("float32")
    predictor, head = PredictionHead(12), ProjectionHead((12, 6))
    predictor.build(x.shape)
    head.build(x.shape)
    head.set_weights(predictor.get_weights())
    np.testing.assert_array_equal(predictor(x), head(x))


@pytest.mark.parametrize("width", [0, -1, 2.5, "64"])
def test_wrong_width_raises(width):
    with pytest.raises((TypeError, ValueError), match="must be a positive integer"):
        PredictionHead(width)


def test_seeds_are_drawn_at_construction():
    x = np.ones((2, 6), "float32")
    keras.utils.set_random_seed(3)
    first, second = PredictionHead(12), PredictionHead(12)
    keras.utils.set_random_seed(3)
    late = PredictionHead(12)
    keras.utils.set_random_seed(4)  # seeds drawn before the layer is built
    for layer in (first, second, late):
        layer.build(x.shape)
    np.testing.assert_array_equal(late.weights[0], first.weights[0])
    assert not np.allclose(second.weights[0], first.weights[0])


def test_kernels_of_one_seed_differ_reproducibly():
    def kernels():
        initializer = keras.initializers.RandomNormal(seed=5)
        layer = PredictionHead(6, kernel_initializer=initializer, normalization=False)
        layer.build((None, 6))
        return [np.array(weight) for weight in layer.weights if len(weight.shape) == 2]

    one, other = kernels()
    assert not np.allclose(one, other)
    np.testing.assert_array_equal(kernels(), [one, other])
