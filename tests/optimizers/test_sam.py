import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.optimizers import SAM, HeavyBall, Lookahead

BACKEND = keras.backend.backend()
DTYPE, TOLERANCE = ("float32", 1e-5) if BACKEND == "jax" else ("float64", 1e-6)
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="strategies need TensorFlow")


def problem(rng):
    """Least squares and its gradients: of weights and a bias."""
    return rng.normal(size=(8, 3)), rng.normal(size=8), rng.normal(size=3)


def gradients_of(x, y, w, b):
    error = x @ w + b - y
    return [2 * error @ x / len(y), 2 * error.mean(keepdims=True)]


@pytest.mark.parametrize("adaptive", [False, True])
def test_equals_the_papers_algorithm_over_20_steps(rng, adaptive):
    x, y, start = problem(rng)
    w, b, velocity, expected = start, np.zeros(1), [0.0, 0.0], []
    for _ in range(20):
        scales = [np.abs(p) + 0.01 if adaptive else 1.0 for p in (w, b)]
        scaled = [t * g for t, g in zip(scales, gradients_of(x, y, w, b), strict=True)]
        norm = np.sqrt(sum(np.sum(one**2) for one in scaled))
        shifts = [0.25 * t * g / norm for t, g in zip(scales, scaled, strict=True)]
        at_worst = gradients_of(x, y, w + shifts[0], b + shifts[1])
        velocity = [0.5 * v + g for v, g in zip(velocity, at_worst, strict=True)]
        w, b = w - 0.0625 * velocity[0], b - 0.0625 * velocity[1]
        expected.append(np.concatenate([w, b]))
    variables = [keras.Variable(one.astype(DTYPE), dtype=DTYPE) for one in (start, np.zeros(1))]
    optimizer = SAM(HeavyBall(0.0625, 0.5), rho=0.25, adaptive=adaptive)
    x, y = ops.convert_to_tensor(x, DTYPE), ops.convert_to_tensor(y, DTYPE)

    def closure():
        error = ops.matmul(x, variables[0]) + variables[1] - y
        return [2 * ops.matmul(error, x) / 8, 2 * ops.mean(error, keepdims=True)]

    for state in expected:
        optimizer.apply_with_closure(closure(), variables, closure)
        found = np.concatenate([ops.convert_to_numpy(one) for one in variables])
        np.testing.assert_allclose(found, state, rtol=TOLERANCE, atol=TOLERANCE)


def step(gradient, at_worst, start=(1.0, 2.0), dtype="float32", inner=None):
    """The weights that the second gradient is taken at, and those after the step."""
    w, seen = keras.Variable(np.array(start, dtype), dtype=dtype), []
    unused = keras.Variable(np.array([5.0], dtype), dtype=dtype)

    def closure():
        seen.append(ops.convert_to_numpy(w).copy())
        return [ops.convert_to_tensor(np.array(at_worst, dtype)), None]

    optimizer = SAM(inner or keras.optimizers.SGD(1.0), rho=0.5)
    first = ops.convert_to_tensor(np.array(gradient, dtype))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")
        optimizer.apply_with_closure([first, None], [w, unused], closure)
    np.testing.assert_array_equal(unused, [5.0])
    return seen[0], ops.convert_to_numpy(w)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_the_radius_does_not_depend_on_the_gradients_scale(scale):
    at, after = step([3.0 * scale, -4.0 * scale], [0.0, 0.0])
    np.testing.assert_allclose(at, [1.3, 1.6], rtol=1e-6)
    np.testing.assert_array_equal(after, [1.0, 2.0])  # back to the bit


@pytest.mark.parametrize("gradient", [[0.0, 0.0], [np.inf, 1.0]])
def test_without_a_direction_it_is_the_inner_optimizer(gradient):
    at, after = step(gradient, [0.25, 0.5])
    np.testing.assert_array_equal(at, [1.0, 2.0])
    np.testing.assert_array_equal(after, [0.75, 1.5])


def test_half_precision_variables():
    at, after = step([3e4, -4e4], [0.25, 0.5], dtype="float16")
    np.testing.assert_allclose(at, [1.3, 1.6], rtol=1e-3)
    np.testing.assert_array_equal(after, [0.75, 1.5])


def test_the_loss_may_be_scaled_within():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=8.0)
    assert float(SAM(scaled).scale_loss(1.0)) == 8.0
    at, after = step([24.0, -32.0], [2.0, 4.0], inner=scaled)
    np.testing.assert_allclose(at, [1.3, 1.6], rtol=1e-6)
    np.testing.assert_array_equal(after, [0.75, 1.5])
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=8.0)
    at, after = step([np.inf, 1.0], [np.inf, 1.0], inner=scaled)  # skipped
    np.testing.assert_array_equal(after, [1.0, 2.0])


def test_config_round_trip():
    made = SAM(HeavyBall(0.25, 0.5, weight_decay=0.125), rho=0.5, adaptive=True, name="mine")
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert isinstance(copy, SAM) and copy.get_config() == made.get_config()
    assert copy.rho == 0.5 and copy.adaptive and copy.inner_optimizer.weight_decay == 0.125


def test_bad_arguments():
    with pytest.raises(ValueError, match="`rho` must be a positive number"):
        SAM("sgd", rho=0.0)
    with pytest.raises(TypeError, match="`inner_optimizer` must be"):
        SAM(0.1)
    w = keras.Variable([1.0])
    with pytest.raises(RuntimeError, match="at other weights"):
        SAM("sgd").apply([ops.ones(1)], [w])


def trainer_of(optimizer, **settings):
    """A trainer whose loss is the mean square of a dense layer."""
    from keras_ssl import trainers

    class Squares(trainers.SelfSupervisedModel):
        def embed(self, batch, training):
            return {"squares": keras.ops.square(self.encoder(batch.x, training=training))}

    made = Squares(keras.layers.Dense(2, kernel_initializer="ones"))
    made.compile(optimizer, **settings)
    return made


@on_tensorflow
def test_two_replicas_take_the_step_of_the_whole_batch(rng, two_replicas):
    x = rng.normal(size=(8, 3)).astype("float32")
    with two_replicas.scope():
        made = trainer_of(SAM(HeavyBall(0.0625, 0.5), rho=0.25))
    made.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
    w, velocity = np.concatenate([np.ones((3, 2)), np.zeros((1, 2))]), 0.0
    inputs = np.concatenate([x.astype("float64"), np.ones((8, 1))], axis=1)
    gradient_at = lambda w: 2 * inputs.T @ (inputs @ w) / 16  # noqa: E731
    for _ in range(2):
        g = gradient_at(w)
        velocity = 0.5 * velocity + gradient_at(w + 0.25 * g / np.linalg.norm(g))
        w = w - 0.0625 * velocity
    found = np.concatenate([made.encoder.kernel.numpy(), made.encoder.bias.numpy()[None]])
    np.testing.assert_allclose(found, w, rtol=1e-5, atol=1e-6)


def test_a_saved_trainer_goes_on_to_the_bit(rng, tmp_path):
    x = rng.normal(size=(8, 3)).astype("float32")
    made = trainer_of(SAM(HeavyBall(0.0625, 0.5)), run_eagerly=True)
    made.fit(x, verbose=0)
    path = tmp_path / "trainer.keras"
    made.save(path)
    loaded = keras.saving.load_model(path, custom_objects={"Squares": type(made)})
    for one in (made, loaded):
        one.fit(x, verbose=0, shuffle=False)
    assert isinstance(loaded.optimizer, SAM)
    for ours, theirs in zip(loaded.optimizer.variables, made.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(loaded.encoder.kernel, made.encoder.kernel)


@pytest.mark.parametrize("wrap", [SAM, lambda scaled: SAM(Lookahead(scaled, sync_period=2))])
def test_mixed_precision_in_trainers(rng, set_dtype_policy, wrap):
    x = rng.normal(size=(8, 3)).astype("float32")
    set_dtype_policy("mixed_float16")
    with pytest.raises(ValueError, match="Scale it within"):
        trainer_of(wrap(keras.optimizers.SGD(0.0625)))
    # a scale of which the first gradients overflow, so that their steps are left out
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0625), 2.0**17)
    made = trainer_of(wrap(scaled), auto_scale_loss=False, run_eagerly=BACKEND == "tensorflow")
    losses = made.fit(x, epochs=8, verbose=0).history["loss"]
    kernel = ops.convert_to_numpy(made.encoder.kernel)
    assert np.all(np.isfinite(kernel)) and losses[-1] < losses[0]
    assert float(scaled.dynamic_scale) < 2.0**17 and 0 < int(scaled.iterations) < 8
