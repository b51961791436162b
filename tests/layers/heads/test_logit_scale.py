import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers import LogitScale


class TestConformance(TestCase):
    def test_temperature(self):
        self.run_layer_test(
            LogitScale,
            init_kwargs={"temperature": 0.2},
            input_shape=(8, 6),
            expected_output_shape=(8, 6),
            expected_num_trainable_weights=1,
            run_mixed_precision_check=False,  # logits are float32 in any precision
        )

    def test_bias(self):
        self.run_layer_test(
            LogitScale,
            init_kwargs={"temperature": 0.1, "max_scale": None, "bias": -10.0},
            input_shape=(8, 6, 2),
            expected_output_shape=(8, 6, 2),
            expected_num_trainable_weights=2,
            run_mixed_precision_check=False,
        )


def test_equals_the_formula(rng):
    x = rng.normal(size=(5, 4)).astype("float32")
    np.testing.assert_allclose(LogitScale(0.25, bias=-3.0)(x), 4 * x - 3, rtol=1e-5)
    assert float(LogitScale(0.25).temperature) == pytest.approx(0.25)
    assert LogitScale(0.25).loss_arguments().keys() == {"temperature"}
    assert LogitScale(0.25, bias=0.0).loss_arguments().keys() == {"temperature", "bias"}


def test_half_precision_gives_float32_logits():
    layer = LogitScale(0.01, dtype="mixed_float16")
    logits = layer(np.full((2, 2), 1.0, "float16"))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_allclose(logits, 100, rtol=1e-5)
    assert {keras.backend.standardize_dtype(w.dtype) for w in layer.weights} == {"float32"}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="fit on one backend")
def test_scale_is_cut_behind_each_update_and_can_fall_again():
    layer = LogitScale(0.02, max_scale=100)
    model = keras.Sequential([keras.layers.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    x = np.ones((8, 1), "float32")
    model.fit(x, 1000 * x, epochs=3, verbose=0)
    assert float(keras.ops.exp(layer.log_scale)) == pytest.approx(100, rel=1e-5)
    model.compile(keras.optimizers.SGD(1e-5), "mse")
    model.fit(x, 0 * x, epochs=3, verbose=0)
    assert float(keras.ops.exp(layer.log_scale)) < 95


def test_bad_arguments():
    with pytest.raises(ValueError, match="`temperature` must be a positive number"):
        LogitScale(0)
    with pytest.raises(ValueError, match=r"at least 1 / max_scale = 0.01"):
        LogitScale(0.001)
    with pytest.raises(TypeError, match="`bias`"):
        LogitScale(bias="none")
