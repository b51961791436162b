import keras
import numpy as np
import pytest

from keras_ssl.optimizers import fit_hessian_free
from keras_ssl.optimizers._full_batch import FullBatchLoss
from keras_ssl.optimizers.hessian_free import conjugate_gradients

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are trained with TensorFlow", allow_module_level=True)

from keras_ssl import trainers


def network(*widths, loss="mse", decay=0.0):
    penalty = keras.regularizers.L2(decay) if decay else None
    blocks = [keras.layers.Dense(w, "tanh", kernel_regularizer=penalty) for w in widths[:-1]]
    last = keras.layers.Dense(widths[-1], kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((3,)), *blocks, last])
    model.compile(loss=loss)
    return model


def test_product_equals_the_gauss_newton_matrix(rng):
    """The matrix of mean squares is 2 Jᵀ J / n, and a penalty adds its Hessian."""
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    model = network(2, 2, decay=0.25)
    objective = FullBatchLoss("test", model, x, y, None)
    weights = objective.read()

    def outputs(weights):  # in double precision
        a, b, c, d = (part.astype("float64") for part in np.split(weights, [6, 8, 12]))
        return (np.tanh(x @ a.reshape(3, 2) + b) @ c.reshape(2, 2) + d).ravel()

    shifts = 1e-6 * np.eye(len(weights))
    jacobian = np.stack([outputs(weights + s) - outputs(weights - s) for s in shifts], 1) / 2e-6
    is_kernel = np.concatenate([np.ones(6), np.zeros(2), np.ones(4), np.zeros(2)])
    expected = 2 * jacobian.T @ jacobian / 10 + np.diag(2 * 0.25 * is_kernel)
    found = np.stack([objective.gauss_newton(one) for one in np.eye(len(weights))])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_product_of_a_loss_with_curvature_equals_its_hessian(rng):
    """Of a linear model the Gauss-Newton matrix is the Hessian: here of logistic regression."""
    x, y = rng.normal(size=(20, 3)), rng.integers(0, 2, (20, 1))
    model = network(1, loss=keras.losses.BinaryCrossentropy(from_logits=True))
    objective = FullBatchLoss("test", model, x, y, None)
    weights, inputs = objective.read(), np.c_[x, np.ones(20)]
    p = 1 / (1 + np.exp(-inputs @ weights))
    expected = inputs.T @ ((p * (1 - p))[:, None] * inputs) / 20
    found = np.stack([objective.gauss_newton(one) for one in np.eye(4)])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_conjugate_gradients_solve(rng):
    root, gradient = rng.normal(size=(6, 6)), rng.normal(size=6)
    matrix = root @ root.T + np.eye(6)
    solution = -np.linalg.solve(matrix, gradient)
    steps = conjugate_gradients(lambda v: matrix @ v, gradient, np.ones(6), 50)
    np.testing.assert_allclose(steps[-1][0], solution, rtol=1e-5)
    for step, value in steps:
        assert value == pytest.approx(gradient @ step + step @ matrix @ step / 2, abs=1e-9)
    ((step, value),) = conjugate_gradients(lambda v: v, np.zeros(6), np.zeros(6), 50)
    assert value == 0 and not np.any(step)


def test_one_iteration_solves_a_linear_model(rng):
    """Then the step is Newton's."""
    x = rng.normal(size=(40, 3))
    y = x @ rng.normal(size=(3, 1)) + 0.3 * rng.normal(size=(40, 1))
    model = network(1)
    history = fit_hessian_free(model, x, y, iterations=1, damping=0.0)
    expected = np.linalg.lstsq(np.c_[x, np.ones(40)], y, rcond=None)[0]
    found = np.concatenate([w.reshape(-1, 1) for w in model.get_weights()])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert len(history.history["loss"]) == 2


def test_a_network_of_two_layers_is_fitted(rng):
    x = rng.normal(size=(60, 3))
    y = np.tanh(3 * x[:, :1] * x[:, 1:2])
    keras.utils.set_random_seed(0)
    model = network(8, 1)
    history = fit_hessian_free(model, x, y, iterations=15, cg_iterations=50).history["loss"]
    assert np.all(np.diff(history) <= 0) and history[-1] < 0.2 * history[0]
    assert history[-1] == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-4)


def test_what_it_refuses(rng):
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 1))
    with pytest.raises(ValueError, match="`damping` must be a number of at least 0"):
        fit_hessian_free(network(1), x, y, damping=-1.0)
    with pytest.raises(ValueError, match="`cg_iterations` must be a positive integer"):
        fit_hessian_free(network(1), x, y, cg_iterations=0)
    with pytest.raises(TypeError, match="for trainers there is `fit_lbfgs`"):
        fit_hessian_free(trainers.SelfSupervisedModel(keras.layers.Dense(1)), x)
    with pytest.raises(ValueError, match="Call `compile` before `fit_hessian_free`"):
        fit_hessian_free(keras.Sequential([keras.layers.Dense(1)]), x, y)
