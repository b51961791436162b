"""Relatives of the dense layer, compared with their formulas in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from tests.losses.gradients import value_and_gradients

PAIR = {"first_shape": (3, 4, 5), "second_shape": (3, 4, 2)}
CONDITIONED = {"inputs_shape": (3, 4, 5), "condition_shape": (3, 2)}


class TestConformance(TestCase):
    def test_maxout(self):
        self.run_layer_test(
            layers.Maxout,
            init_kwargs={"units": 6, "pieces": 3},
            input_shape=(3, 4, 5),
            expected_output_shape=(3, 4, 6),
            expected_num_trainable_weights=2,
        )

    def test_bilinear(self):
        self.run_layer_test(
            layers.Bilinear,
            init_kwargs={"units": 6, "activation": "relu"},
            input_shape=PAIR,
            expected_output_shape=(3, 4, 6),
            expected_num_trainable_weights=2,
            run_training_check=False,  # of one input
        )

    def test_hyper_dense(self):
        for network, weights in ((None, 3), (keras.layers.Dense(4, "relu"), 5)):
            self.run_layer_test(
                layers.HyperDense,
                init_kwargs={"units": 6, "network": network},
                input_shape=CONDITIONED,
                expected_output_shape=(3, 4, 6),
                expected_num_trainable_weights=weights,
                run_training_check=False,  # of one input
                run_mixed_precision_check=network is None,  # the network's policy is its own
            )

    def test_weight_tied(self):
        encoder = keras.layers.Dense(5)
        encoder.build((None, 7))
        self.run_layer_test(
            layers.WeightTied,
            init_kwargs={"layer": encoder, "activation": "relu"},
            input_shape=(3, 4, 5),
            expected_output_shape=(3, 4, 7),
            expected_num_trainable_weights=3,
        )


def test_maxout_takes_the_largest_piece(rng):
    layer, x = layers.Maxout(3, 4, kernel_initializer="he_normal"), rng.normal(size=(2, 5, 6))
    layer.build(x.shape)
    kernel = ops.convert_to_numpy(layer.kernel)
    assert kernel.shape == (6, 3, 4) and len(np.unique(kernel)) == kernel.size
    bias = rng.normal(size=(3, 4))
    layer.bias.assign(bias)
    expected = np.max(np.einsum("btd,dup->btup", x, kernel) + bias, axis=-1)
    np.testing.assert_allclose(layer(x.astype("float32")), expected, rtol=1e-4, atol=1e-5)


def test_bilinear_form(rng):
    x, z = (rng.normal(size=shape).astype("float32") for shape in PAIR.values())
    layer = layers.Bilinear(6)
    layer.build(x.shape, z.shape)
    w, b = rng.normal(size=(6, 5, 2)), rng.normal(size=6)
    layer.set_weights([w, b])
    expected = np.einsum("bti,kij,btj->btk", x, w, z) + b
    np.testing.assert_allclose(layer(x, z), expected, rtol=1e-4, atol=1e-5)
    _, (of_x, of_z) = value_and_gradients(lambda x, z: ops.sum(layer(x, z)), x, z)
    np.testing.assert_allclose(of_x, np.einsum("kij,btj->bti", w, z), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_z, np.einsum("bti,kij->btj", x, w), rtol=1e-4, atol=1e-5)


def test_hyper_dense_has_weights_of_each_example(rng):
    x, c = (rng.normal(size=shape).astype("float32") for shape in CONDITIONED.values())
    layer = layers.HyperDense(6, network=keras.layers.Dense(3, "tanh"))
    y = layer(x, c)
    layer.bias_of.kernel.assign(rng.normal(size=(3, 6)))
    y = layer(x, c)
    h = ops.convert_to_numpy(layer.network(c))
    kernels = (h @ ops.convert_to_numpy(layer.kernel_of.kernel)).reshape(3, 5, 6)
    biases = h @ ops.convert_to_numpy(layer.bias_of.kernel)
    expected = np.einsum("btd,bdu->btu", x, kernels) + biases[:, None]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    vector = layers.HyperDense(6)(x[:, 0], c)
    assert tuple(vector.shape) == (3, 6)


def test_outputs_of_hyper_dense_vary_as_inputs_do(rng):
    x, c = rng.normal(size=(64, 256)), rng.normal(size=(64, 100))
    y = layers.HyperDense(256)(x.astype("float32"), c.astype("float32"))
    np.testing.assert_allclose(np.std(ops.convert_to_numpy(y)), 1, rtol=0.1)


def test_tied_layers_share_a_kernel_also_when_loaded(rng, tmp_path):
    encode = keras.layers.Dense(3, "relu")
    inputs = keras.Input((5,))
    h = encode(inputs)
    model = keras.Model(inputs, layers.WeightTied(encode)(h))
    x = rng.normal(size=(4, 5)).astype("float32")
    kernel, bias = encode.get_weights()
    expected = np.maximum(x @ kernel + bias, 0) @ kernel.T
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
    assert len(model.trainable_weights) == 3
    model.save(tmp_path / "tied.keras")
    copy = keras.saving.load_model(tmp_path / "tied.keras")
    assert len(copy.trainable_weights) == 3
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-6)
    copy.layers[1].kernel.assign(0 * kernel)
    np.testing.assert_array_equal(copy(x), 0 * x)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`pieces` must be an integer of at least 2"):
        layers.Maxout(3, pieces=1)
    with pytest.raises(ValueError, match=r"known last axis.*\(3, None\)"):
        layers.Maxout(3).build((3, None))
    x = np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match=r"same axes but for the last.*\(2, 3\).*\(4, 3\)"):
        layers.Bilinear(2)(x, np.ones((4, 3), "float32"))
    with pytest.raises(TypeError, match="`network` must be a Keras layer"):
        layers.HyperDense(2, network="relu")
    with pytest.raises(ValueError, match=r"shape \(batch, features\).*\(2, 3, 4\)"):
        layers.HyperDense(2)(x, np.ones((2, 3, 4), "float32"))
    with pytest.raises(TypeError, match=r"`layer` must be a keras\.layers\.Dense"):
        layers.WeightTied(keras.layers.Embedding(3, 4))
    with pytest.raises(ValueError, match="must be built before"):
        layers.WeightTied(keras.layers.Dense(3))(x)
    dense = keras.layers.Dense(4)
    dense(x)
    with pytest.raises(ValueError, match=r"number of units of `layer`.*\(2, 3\), layer.units=4"):
        layers.WeightTied(dense)(x)
