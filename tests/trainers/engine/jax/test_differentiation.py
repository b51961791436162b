"""Steps as pure functions: gradients, what is assigned, variables that nothing holds."""

import keras
import numpy as np
import pytest
from keras import ops

if keras.backend.backend() != "jax":
    pytest.skip("the JAX backend's engine", allow_module_level=True)

from keras_ssl.optimizers._wrapper import take_step
from keras_ssl.trainers.engine.jax.differentiation import (
    StepScope,
    differentiate,
    differentiate_with,
    input_gradient,
)


def variable(value, **options):
    return keras.Variable(np.array(value, "float32"), **options)


def numbers(x):
    return np.asarray(x).tolist()


@pytest.mark.parametrize("within_step", [False, True])
def test_gradients_come_with_what_was_computed_and_assigned(within_step):
    w, unused, count = variable([1.0, 3.0]), variable(5.0), variable(0.0)

    def compute():
        count.assign_add(1)
        return ops.sum(w * w) * count, {"count": ops.convert_to_tensor(count)}

    def step():
        others, gradients = differentiate(compute, [w, unused])
        assert gradients[1] is None
        return numbers(gradients[0]), numbers(others["count"]), numbers(count.value)

    if within_step:
        with StepScope([(one, one.value) for one in (w, unused, count)]) as scope:
            found = step()
        assert numbers(scope.get_current_value(count)) == 1.0
        assert numbers(count.value) == 0.0  # the variable itself is as it was
    else:
        found = step()
    assert found == ([2.0, 6.0], 1.0, 1.0)


def test_no_gradient_flows_into_what_is_assigned():
    w, state = variable(2.0), variable(0.0)

    def compute():
        state.assign(w * w)
        return w * state, ()

    assert numbers(differentiate(compute, [w])[1][0]) == 4.0  # of w * 4


def test_gradient_of_a_weight_that_is_assigned_is_that_of_all_its_values():
    """As on TensorFlow, whose tape records each reading: d/dw (w + 10 w') with w' = w / 2."""
    w = variable(4.0)

    def compute():
        first = w + 0.0
        w.assign(w / 2)
        return first + 10 * w, ()

    assert numbers(differentiate(compute, [w])[1][0]) == 11.0
    assert numbers(w.value) == 2.0


def test_gradients_of_tensors_and_of_gradients():
    w, x = variable(3.0), ops.convert_to_tensor([1.0, 2.0])
    others, of_w, of_x = differentiate_with(lambda x: (ops.sum(w * x * x), 7), [w], [x])
    assert (numbers(of_w[0]), numbers(of_x[0]), numbers(others)) == (5.0, [6.0, 12.0], 7)

    def penalty():
        return ops.sum(input_gradient(lambda x: w * x * x, x) ** 2), ()

    # sum of (2 w x)^2, by w
    assert numbers(differentiate(penalty, [w])[1][0]) == 8 * 3.0 * 5.0


def test_a_variable_that_the_trainer_does_not_hold_is_an_error_that_names_it():
    stray = keras.Variable(1.0, name="stray")
    with StepScope([]), pytest.raises(RuntimeError, match=r"attribute of the trainer.*stray"):
        stray.assign(2.0)


@pytest.mark.parametrize(("gradient", "expected"), [(8.0, [0.9, 8.0]), (np.inf, [1.0, 4.0])])
def test_scaled_step_is_taken_or_left_out(gradient, expected):
    w = variable(1.0)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0)
    optimizer.build([w])
    with StepScope([(one, one.value) for one in [w, *optimizer.variables]]) as scope:
        take_step(optimizer, [ops.convert_to_tensor(gradient)], [w])
    found = [numbers(scope.get_current_value(one)) for one in (w, optimizer.dynamic_scale)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
