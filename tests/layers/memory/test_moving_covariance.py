import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers import MovingCovariance


class TestConformance(TestCase):
    def test_features(self):
        self.run_layer_test(
            MovingCovariance,
            init_kwargs={"momentum": 0.5},
            input_shape=(8, 5),
            expected_output_shape=(5, 5),
            expected_num_non_trainable_weights=1,
            # the layer computes in float32 whatever the policy, which Keras' check does not expect
            run_mixed_precision_check=False,
            run_training_check=False,  # the output has no batch
        )


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4)])
def test_equals_the_formula_over_steps(rng, shape):
    layer, c = MovingCovariance(0.8), np.zeros((4, 4))
    for _ in range(3):
        z = rng.normal(1, 1, size=shape).astype("float32")
        rows = z.astype("float64").reshape(-1, 4)
        c = 0.8 * c + 0.2 * np.mean([np.outer(row, row) for row in rows], axis=0)
        np.testing.assert_allclose(layer(z), c, rtol=1e-5)  # outside training nothing is kept
        np.testing.assert_allclose(layer(z, training=True), c, rtol=1e-5)
        np.testing.assert_allclose(layer.covariance, c, rtol=1e-5)


def test_computes_in_float32_under_mixed_precision(rng, set_dtype_policy):
    set_dtype_policy("mixed_float16")
    z = 300 * rng.normal(size=(6, 4)).astype("float32")  # squares overflow float16
    outputs = MovingCovariance(0.5)(z)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    np.testing.assert_allclose(outputs, 0.5 * z.T @ z / 6, rtol=1e-4)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`momentum` must be a number in"):
        MovingCovariance(1.0)
    with pytest.raises(TypeError, match="`momentum` must be a number"):
        MovingCovariance("0.9")
    with pytest.raises(ValueError, match="`inputs` must have rank 2 or more"):
        MovingCovariance().build((4, None))
