import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl.layers import Prototypes
from tests.losses.gradients import value_and_gradients


class TestConformance(TestCase):
    def test_embeddings(self):
        self.check((4, 3), {"count": 5})

    def test_tokens_and_constraint(self):
        self.check((4, 7, 3), {"count": 5, "kernel_constraint": "unit_norm"})

    def check(self, input_shape, arguments):
        self.run_layer_test(
            Prototypes,
            init_kwargs=arguments,
            input_shape=input_shape,
            expected_output_shape=(*input_shape[:-1], 5),
            expected_num_trainable_weights=1,
            expected_num_non_trainable_weights=0,
            supports_masking=True,
        )


def cosines(z, kernel):
    z, kernel = np.asarray(z, "float64"), np.asarray(kernel, "float64")
    return (z / np.linalg.norm(z, axis=-1, keepdims=True)) @ (
        kernel / np.linalg.norm(kernel, axis=0)
    )


def test_equals_the_formula(rng):
    layer = Prototypes(5)
    z = rng.normal(size=(6, 4)).astype("float32")
    np.testing.assert_allclose(layer(z), cosines(z, layer.kernel), rtol=1e-5, atol=1e-6)


def test_scale_of_embeddings_and_prototypes_does_not_matter(rng):
    layer = Prototypes(5)
    z = rng.normal(size=(6, 4)).astype("float32")
    before = np.asarray(layer(z))
    layer.kernel.assign(layer.kernel * ops.convert_to_tensor([1e-6, 1e6, 3.0, 0.1, 1e20]))
    np.testing.assert_allclose(layer(z * 1e15), before, rtol=1e-5, atol=1e-6)


def test_gradient_equals_finite_differences(rng):
    layer = Prototypes(5)
    z = rng.normal(size=(3, 4)).astype("float32")
    layer.build(z.shape)
    slope = rng.normal(size=(3, 5)).astype("float32")
    _, (gradient,) = value_and_gradients(lambda z: ops.sum(slope * layer(z)), z)
    expected = np.zeros(z.shape)
    for index in np.ndindex(*z.shape):
        step = np.zeros(z.shape)
        step[index] = 1e-5
        ends = [(slope * cosines(z + sign * step, layer.kernel)).sum() for sign in (1, -1)]
        expected[index] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


def test_zeros_and_float16_are_finite():
    layer = Prototypes(3, dtype="mixed_float16")
    scores = layer(np.zeros((2, 4), "float16"))
    assert np.all(np.asarray(scores) == 0)
    assert np.all(np.isfinite(layer(np.full((2, 4), 6e4, "float16"))))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow")
@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_prototypes_have_no_gradient_but_embeddings_do(rng, frozen):
    import tensorflow as tf

    layer, z = Prototypes(3), tf.constant(rng.normal(size=(2, 4)).astype("float32"))
    layer.build(z.shape)
    for flag in (frozen, tf.constant(frozen)):
        with tf.GradientTape() as tape:
            tape.watch(z)
            total = tf.reduce_sum(tf.square(layer(z, frozen=flag)))
        of_z, of_kernel = tape.gradient(total, [z, layer.kernel.value])
        assert np.any(of_z != 0)
        assert (of_kernel is None or not np.any(of_kernel)) == frozen


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow")
def test_constraint_keeps_the_columns_at_length_one(rng):
    model = keras.Sequential([Prototypes(3, kernel_constraint="unit_norm")])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(rng.normal(size=(8, 4)), rng.normal(size=(8, 3)), verbose=0)
    np.testing.assert_allclose(np.linalg.norm(model.layers[0].kernel, axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 0, -3])
def test_count_below_two_raises(count):
    with pytest.raises(ValueError, match=f"at least 2.*count={count}"):
        Prototypes(count)


@pytest.mark.parametrize("count", [2.0, "3", True])
def test_count_must_be_an_integer(count):
    with pytest.raises(TypeError, match="integer"):
        Prototypes(count)


def test_unknown_width_raises():
    with pytest.raises(ValueError, match="known last axis"):
        Prototypes(3).build((4, None))
