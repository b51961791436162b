import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl.trainers.engine.gradients import differentiate, input_gradient


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_gradient_of_the_input_can_be_differentiated_by_the_weights(rng, jit_compile):
    """f(x) = w · x³: df/dx = 3 w x², and the derivative of its sum by w is 3 Σ x²."""
    x = rng.normal(size=(4, 3)).astype("float32")
    w = keras.Variable(rng.normal(size=3))

    def step():
        def compute():
            gradient = input_gradient(lambda one: ops.sum(w * one**3, axis=-1), x)
            return ops.sum(gradient), gradient

        return differentiate(compute, [w])

    step = step if jit_compile is None else tf.function(step, jit_compile=jit_compile)
    gradient, (second,) = step()
    np.testing.assert_allclose(gradient, 3 * np.array(w) * x**2, rtol=1e-5)
    np.testing.assert_allclose(second, 3 * (x**2).sum(axis=0), rtol=1e-5)


def test_gradient_of_a_structure_has_its_structure():
    x = {"a": ops.ones((2, 3)), "b": ops.ones((2,))}
    gradient = input_gradient(lambda one: 2 * ops.sum(one["a"], axis=-1), x)
    np.testing.assert_array_equal(gradient["a"], np.full((2, 3), 2.0))
    np.testing.assert_array_equal(gradient["b"], np.zeros(2))  # the function does not read it
