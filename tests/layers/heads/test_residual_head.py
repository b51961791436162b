"""The heads of InfoGraph and AIM."""

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase
from scipy.special import erf

from keras_ssl.layers import ResidualHead, ResidualMLPHead


class TestConformance(TestCase):
    def test_layer(self):
        for arguments, width, weights in (
            ({"units": 5, "depth": 2, "activation": "tanh"}, 5, 6),
            ({"kernel_initializer": keras.initializers.GlorotUniform(3)}, 4, 8),
        ):
            self.run_layer_test(
                ResidualHead,
                init_kwargs=arguments,
                input_shape=(2, 3, 4),
                expected_output_shape=(2, 3, width),
                expected_num_trainable_weights=weights,
                expected_num_seed_generators=0,
                supports_masking=True,
            )

    def test_perceptrons(self):
        self.run_layer_test(
            ResidualMLPHead,
            init_kwargs={"width": 6, "depth": 2},
            input_shape=(2, 3, 4),
            expected_output_shape=(2, 3, 6),
            expected_num_trainable_weights=16,
            expected_num_seed_generators=0,
        )


def test_equals_mlp_plus_linear_map(rng):
    x = rng.normal(size=(7, 4)).astype("float32")
    head = ResidualHead(5)
    head(x)
    head.set_weights([rng.normal(size=w.shape) for w in head.get_weights()])
    w = {w.path.partition("/")[2]: np.asarray(w, "float64") for w in head.weights}
    z = x
    for name in ("dense_1", "dense_2", "dense_3"):
        z = np.maximum(z @ w[f"{name}/kernel"] + w[f"{name}/bias"], 0)
    expected = z + x @ w["shortcut/kernel"] + w["shortcut/bias"]
    np.testing.assert_allclose(head(x), expected, rtol=1e-4, atol=1e-4)


def test_kernels_start_from_different_values():
    head = ResidualHead(kernel_initializer=keras.initializers.GlorotUniform(0))
    head.build((None, 4))
    kernels = [np.asarray(layer.kernel) for layer in (*head.dense, head.shortcut)]
    for number, kernel in enumerate(kernels):
        assert all(not np.array_equal(kernel, other) for other in kernels[:number])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"units": 0}, ValueError), ({"depth": 0}, ValueError), ({"depth": 1.5}, TypeError)],
)
def test_wrong_arguments_raise(arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        ResidualHead(**arguments)


def test_unknown_number_of_features_raises():
    with pytest.raises(ValueError, match="must have a known last axis"):
        ResidualHead().build((2, None))


def test_perceptrons_equal_a_formula(rng):
    x = rng.normal(size=(3, 7, 4)).astype("float32")
    head = ResidualMLPHead(5, depth=2)
    head(x)
    head.set_weights([rng.normal(size=w.shape) for w in head.get_weights()])

    def normalized(z, layer):
        gamma, beta = (np.asarray(w, "float64") for w in (layer.gamma, layer.beta))
        z = z - z.mean(axis=-1, keepdims=True)
        return z / np.sqrt((z**2).mean(axis=-1, keepdims=True) + 1e-6) * gamma + beta

    def dense(z, kernel, bias):
        return z @ np.asarray(kernel, "float64") + np.asarray(bias, "float64")

    z = dense(x, head.enter.kernel, head.enter.bias)
    for norm, perceptron in zip(head.norms, head.perceptrons, strict=False):
        first_kernel, first_bias, second_kernel, second_bias = perceptron.weights
        hidden = dense(normalized(z, norm), first_kernel, first_bias)
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        z = z + dense(hidden, second_kernel, second_bias)
    expected = normalized(z, head.norms[-1])
    np.testing.assert_allclose(head(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"width": 0}, ValueError), ({"depth": 0}, ValueError), ({"width": 1.5}, TypeError)],
)
def test_wrong_arguments_of_perceptrons_raise(arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        ResidualMLPHead(**arguments)
