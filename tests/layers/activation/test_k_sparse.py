import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from tests.losses.gradients import value_and_gradients


class TestConformance(TestCase):
    def test_feature_maps(self):
        self.run_layer_test(
            layers.KSparse,
            init_kwargs={"k": 2},
            input_shape=(3, 4, 5),
            expected_output_shape=(3, 4, 5),
        )


def test_largest_units_pass_with_their_gradients(rng):
    x, places = rng.normal(size=(6, 4, 5)).astype("float32"), np.arange(5)
    kept = np.isin(places, [0, 1])[np.argsort(np.argsort(-x, axis=-1), axis=-1)]
    layer = layers.KSparse(2)
    np.testing.assert_array_equal(layer(x), np.where(kept, x, 0))
    _, (gradient,) = value_and_gradients(lambda one: ops.sum(3 * layer(one)), x)
    np.testing.assert_array_equal(gradient, np.where(kept, 3, 0))


def test_bad_k_is_refused():
    with pytest.raises(ValueError, match="`k` must be a positive integer"):
        layers.KSparse(0)
    with pytest.raises(ValueError, match=r"less than the number of units.*k=5.*\(2, 5\)"):
        layers.KSparse(5)(np.ones((2, 5), "float32"))
