import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.optimizers import SAM, Lookahead


def apply(optimizer, gradient, w):
    optimizer.apply([ops.convert_to_tensor(np.asarray(gradient, "float32"))], [w])


@pytest.mark.parametrize("period", [1, 5])
def test_equals_the_papers_algorithm_over_20_steps(rng, period):
    start, gradients = rng.normal(size=(2, 3)), rng.normal(size=(20, 2, 3)) + 0.5
    fast, slow, velocity, expected = start, start, 0.0, []
    for number, g in enumerate(gradients):
        velocity = 0.5 * velocity - 0.125 * g
        fast = fast + velocity
        if (number + 1) % period == 0:
            slow = slow + 0.75 * (fast - slow)
            fast = slow
        expected.append(fast)
    w = keras.Variable(start)
    optimizer = Lookahead(keras.optimizers.SGD(0.125, 0.5), period, 0.75)
    for gradient, state in zip(gradients, expected, strict=True):
        apply(optimizer, gradient, w)
        np.testing.assert_allclose(w, state, rtol=1e-5, atol=2e-6)


def test_starts_from_weights_that_were_set_after_it_was_built():
    w = keras.Variable(np.zeros(1, "float32"))
    optimizer = Lookahead(keras.optimizers.SGD(1.0), sync_period=1)
    optimizer.build([w])
    w.assign([10.0])
    apply(optimizer, [-2.0], w)
    np.testing.assert_allclose(w, [11.0])


def test_slow_weights_keep_constraints():
    w = keras.Variable(np.array([3.0, 4.0], "float32") / 5)
    w.constraint = keras.constraints.UnitNorm()
    optimizer = Lookahead(keras.optimizers.SGD(0.5), sync_period=2)
    for gradient in ([1.0, 0.0], [0.0, -1.0]):
        apply(optimizer, gradient, w)
    np.testing.assert_allclose(np.linalg.norm(ops.convert_to_numpy(w)), 1.0, rtol=1e-5)


def test_rate_and_scale_are_those_of_the_inner_optimizer():
    inner = keras.optimizers.SGD(0.5, loss_scale_factor=4.0)
    optimizer = Lookahead(inner)
    assert float(optimizer.scale_loss(1.0)) == 4.0
    optimizer.learning_rate = 0.25
    assert float(ops.convert_to_numpy(inner.learning_rate)) == 0.25
    w = keras.Variable(np.zeros(1, "float32"))
    apply(optimizer, [4.0], w)
    np.testing.assert_allclose(w, [-0.25])
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 1
    # Keras scales the loss around it instead
    scaled = keras.optimizers.LossScaleOptimizer(optimizer)
    assert inner.loss_scale_factor is None and scaled.inner_optimizer is optimizer


def test_averages_of_the_inner_optimizer_are_put_into_the_weights():
    inner = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    optimizer = Lookahead(inner, sync_period=10)
    w = keras.Variable(np.zeros(1, "float32"))
    for _ in range(2):
        apply(optimizer, [-1.0], w)
    optimizer.finalize_variable_values([w])
    np.testing.assert_allclose(w, [1.5])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inner_optimizer": None}, TypeError, "`inner_optimizer` must be a Keras optimizer"),
        ({"sync_period": 0}, ValueError, "`sync_period` must be a positive integer"),
        ({"slow_step_size": 1.5}, ValueError, "`slow_step_size` must be a positive number"),
        ({"slow_step_size": 0}, ValueError, "`slow_step_size`"),
        ({"inner_optimizer": SAM("sgd")}, ValueError, r"use `SAM\(Lookahead\(...\)\)`"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        Lookahead(**{"inner_optimizer": "sgd", **arguments})
