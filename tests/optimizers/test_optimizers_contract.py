"""What all optimizers share: saving, replicas, mixed precision, XLA, Keras' arguments, checks."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.optimizers import AdaptiveGain, HeavyBall, Lookahead, Rprop

BACKEND = keras.backend.backend()
TORCH = json.loads((Path(__file__).parents[1] / "reference" / "optimizers.json").read_text())
# JAX computes in float32
DTYPE, TOLERANCE = ("float32", 1e-5) if BACKEND == "jax" else ("float64", 1e-6)

# The rates are exact in float32, in which Keras holds them
OPTIMIZERS = {
    "Rprop": lambda **kwargs: Rprop(initial_step=0.0625, **kwargs),
    "Rprop, not improved": lambda **kwargs: Rprop(improved=False, **kwargs),
    "HeavyBall": lambda **kwargs: HeavyBall(0.125, 0.875, **kwargs),
    "HeavyBall, dampened": lambda **kwargs: HeavyBall(0.125, 0.875, 0.25, **kwargs),
    "HeavyBall, scheduled": lambda **kwargs: HeavyBall(
        0.125, keras.optimizers.schedules.PolynomialDecay(0.5, 8, 0.875), **kwargs
    ),
    "AdaptiveGain": lambda **kwargs: AdaptiveGain(0.125, **kwargs),
    "AdaptiveGain, momentum": lambda **kwargs: AdaptiveGain(0.125, 0.5, **kwargs),
    "Lookahead": lambda **kwargs: Lookahead(HeavyBall(0.125, 0.875, **kwargs), sync_period=2),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=list(OPTIMIZERS))


def variable(value, dtype=DTYPE):
    return keras.Variable(np.asarray(value, dtype), dtype=dtype)


def apply(optimizer, gradient, *variables):
    gradient = ops.convert_to_tensor(np.asarray(gradient, variables[0].dtype))
    optimizer.apply([gradient] * len(variables), variables)


def states(optimizer, start, gradients):
    """The weights after each step."""
    w, found = variable(start), []
    for gradient in gradients:
        apply(optimizer, gradient, w)
        found.append(ops.convert_to_numpy(w).copy())
    return np.array(found)


def draw(rng, steps=6):
    """A start, and gradients whose signs change now and then."""
    return rng.normal(size=(2, 3)), rng.normal(size=(steps, 2, 3)) + 0.5


@pytest.mark.parametrize("case", TORCH["results"], ids=lambda case: str(case["settings"]))
def test_equals_pytorch_over_20_steps(case):
    settings = dict(case["settings"])
    if case["optimizer"] == "Rprop":
        decrease, increase = settings.get("etas", (0.5, 1.2))
        bounds = settings.get("step_sizes", (1e-6, 50.0))
        optimizer = Rprop(1.0, settings["lr"], increase, decrease, bounds)
    else:
        optimizer = HeavyBall(settings.pop("lr"), **settings)
    found = states(optimizer, TORCH["start"], TORCH["gradients"])
    np.testing.assert_allclose(found, case["states"], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_adaptive_gain_equals_the_formula_over_20_steps(rng, momentum):
    start, gradients = draw(rng, 20)
    gradients[5:9, 0, 0] = 0.0
    w, gain, last, velocity, expected, gains = start, 1.0, 0 * start, 0.0, [], []
    for g in gradients:
        gain = np.where(g * last > 0, gain + 0.0625, np.where(g * last < 0, gain * 0.75, gain))
        gain = np.clip(gain, 0.75, 1.25)
        velocity = momentum * velocity + 0.125 * gain * g
        w, last = w - velocity, g
        expected.append(w)
        gains.append(gain)
    assert np.min(gains) == 0.75 and np.max(gains) == 1.25  # the bounds take part
    found = states(AdaptiveGain(0.125, momentum, 0.0625, 0.75, (0.75, 1.25)), start, gradients)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_rprop_minus_goes_back_at_once():
    found = states(Rprop(1.0, 0.5, improved=False), [1.0], [[3.0], [-0.1], [-0.1]])
    # the improved variant would rest in the second step
    np.testing.assert_allclose(found[:, 0], [0.5, 0.75, 1.05], rtol=1e-6)


def test_heavy_ball_equals_keras_sgd_at_a_constant_rate_alone(rng):
    start, gradients = draw(rng)
    ours = states(HeavyBall(0.125, 0.875), start, gradients)
    theirs = states(keras.optimizers.SGD(0.125, 0.875), start, gradients)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.125, 0.0])
    ours = states(HeavyBall(schedule, 0.875), start, gradients)
    theirs = states(keras.optimizers.SGD(schedule, 0.875), start, gradients)
    np.testing.assert_array_equal(ours[2], ours[-1])  # a rate of 0 stops the ball
    assert np.all(theirs[2] != theirs[-1])


def test_momentum_can_be_set_in_a_compiled_step():
    optimizer = HeavyBall(0.125, 0.5)
    w = variable([1.0], "float32")
    gradient = ops.convert_to_tensor(np.ones(1, "float32"))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        optimizer.build([w])
        step = tf.function(lambda: optimizer.apply([gradient], [w]))
    else:
        step = lambda: optimizer.apply([gradient], [w])  # noqa: E731
    step()
    optimizer.momentum = 0.0
    step()
    np.testing.assert_allclose(w, [1 - 0.125 - 0.125], rtol=1e-6)
    with pytest.raises(ValueError, match=r"`momentum` must be a number in \[0, 1\)"):
        optimizer.momentum = 1.0
    with pytest.raises(ValueError, match="follows a schedule"):
        OPTIMIZERS["HeavyBall, scheduled"]().momentum = 0.5


@every_optimizer
def test_a_saved_run_resumes_to_the_bit(rng, tmp_path, make):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, use_bias=False)])
    model.compile(make(weight_decay=0.0625), "mse")
    _, gradients = draw(rng, 8)
    for gradient in gradients[:5]:
        apply(model.optimizer, gradient, *model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for one in (model, loaded):
        for gradient in gradients[5:]:
            apply(one.optimizer, gradient, *one.trainable_variables)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
    for ours, theirs in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@every_optimizer
def test_two_replicas_take_the_steps_of_one(rng, two_replicas, make):
    import tensorflow as tf

    start, gradients = draw(rng)
    expected = states(make(weight_decay=0.0625), start, gradients)
    with two_replicas.scope():
        w, optimizer = variable(start), make(weight_decay=0.0625)
        optimizer.build([w])

    @tf.function
    def step(gradient):
        def run():
            index = tf.distribute.get_replica_context().replica_id_in_sync_group
            share = tf.where(index == 0, 0.25, 0.75)  # Keras sums the gradients of replicas
            optimizer.apply([tf.cast(share, gradient.dtype) * gradient], [w])

        two_replicas.run(run)

    for gradient in gradients:
        step(tf.constant(gradient))
    for copy in two_replicas.experimental_local_results(w.value):
        np.testing.assert_allclose(copy, expected[-1], rtol=1e-6, atol=1e-7)


def test_compiled_by_xla_they_take_the_same_steps(rng):
    if BACKEND != "tensorflow":
        pytest.skip("JAX is always compiled")
    import tensorflow as tf

    start, gradients = draw(rng)
    weights = {name: variable(start) for name in OPTIMIZERS}
    optimizers = {name: make(clipnorm=1.0) for name, make in OPTIMIZERS.items()}
    for name, optimizer in optimizers.items():
        optimizer.build([weights[name]])

    @tf.function(jit_compile=True)
    def step(gradient):
        for name, optimizer in optimizers.items():
            optimizer.apply([gradient], [weights[name]])

    for gradient in gradients:
        step(tf.constant(gradient))
    for name, make in OPTIMIZERS.items():
        expected = states(make(clipnorm=1.0), start, gradients)[-1]
        np.testing.assert_allclose(weights[name], expected, rtol=1e-6, err_msg=name)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras refuses stateless_apply on TensorFlow")
@every_optimizer
def test_stateless_apply_equals_apply(rng, make):
    start, gradients = draw(rng)
    w, optimizer = variable(start), make()
    optimizer.build([w])
    weights, state = [w.value], [v.value for v in optimizer.variables]
    for gradient in gradients:
        gradient = ops.convert_to_tensor(gradient, DTYPE)
        weights, state = optimizer.stateless_apply(state, [gradient], weights)
    np.testing.assert_allclose(weights[0], states(make(), start, gradients)[-1], rtol=1e-5)


@pytest.mark.skipif(BACKEND == "jax", reason="Keras' loss scaling on JAX works in `fit` alone")
@every_optimizer
def test_loss_scaling_of_mixed_precision_changes_nothing(rng, make):
    start, gradients = draw(rng)
    scaled = keras.optimizers.LossScaleOptimizer(make(), initial_scale=1024.0)
    w = variable(start)
    for number, gradient in enumerate(gradients):
        apply(scaled, 1024 * gradient, w)
        if number == 2:  # a step that overflows is skipped, and the scale halved
            before = ops.convert_to_numpy(w).copy()
            apply(scaled, np.full((2, 3), np.inf), w)
            np.testing.assert_array_equal(w, before)
            scaled.dynamic_scale.assign(1024.0)
    np.testing.assert_allclose(w, states(make(), start, gradients)[-1], rtol=1e-6)


@every_optimizer
def test_weight_decay_is_that_of_keras(make):
    w, spared = variable([2.0]), keras.Variable(np.array([2.0], DTYPE), dtype=DTYPE, name="spared")
    optimizer = make(weight_decay=0.25)
    optimizer.exclude_from_weight_decay(var_names=["spared"])
    apply(optimizer, [0.0], w, spared)
    rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    np.testing.assert_allclose(w, [2.0 - 2.0 * 0.25 * rate], rtol=1e-6)
    np.testing.assert_array_equal(spared, [2.0])


@every_optimizer
@pytest.mark.parametrize("clip", [{"clipvalue": 0.2}, {"global_clipnorm": 0.5}], ids=str)
def test_clipping_comes_first(rng, make, clip):
    start, gradients = draw(rng, 3)
    if "clipvalue" in clip:
        clipped = np.clip(gradients, -0.2, 0.2)
    else:
        norms = np.linalg.norm(gradients, axis=(1, 2), keepdims=True)
        clipped = gradients * 0.5 / np.maximum(norms, 0.5)
    found = states(make(**clip), start, gradients)
    np.testing.assert_allclose(found, states(make(), start, clipped), rtol=1e-5)


@every_optimizer
def test_accumulated_gradients_equal_one_step_on_their_mean(rng, make):
    start, gradients = draw(rng)
    found = states(make(gradient_accumulation_steps=2), start, gradients)
    means = (gradients[::2] + gradients[1::2]) / 2
    np.testing.assert_allclose(found[1::2], states(make(), start, means), rtol=1e-5)


@every_optimizer
def test_sparse_gradient_of_an_embedding_equals_the_dense_one(make):
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow has sparse gradients")
    import tensorflow as tf

    start = np.arange(1.0, 9.0, dtype="float32").reshape(4, 2)
    sparse, dense = variable(start, "float32"), variable(start, "float32")
    rows = tf.IndexedSlices(
        tf.constant([[1.0, 2.0], [3.0, -4.0]]), tf.constant([1, 1]), tf.constant([4, 2])
    )
    for w, gradient in ((sparse, rows), (dense, tf.convert_to_tensor(rows))):
        optimizer = make()
        for _ in range(3):
            optimizer.apply([gradient], [w])
    np.testing.assert_array_equal(sparse, dense)
    assert np.any(ops.convert_to_numpy(sparse) != start)


@every_optimizer
def test_extreme_gradients_in_half_precision(make):
    w = variable([1.0, 1.0, 1.0], "float16")
    optimizer = make()
    for gradient in ([0.0, 6e-8, 60000.0], [0.0, 6e-8, 60000.0]):
        apply(optimizer, gradient, w)
    found = ops.convert_to_numpy(w)
    assert found[0] == 1.0 and np.all(np.isfinite(found[:2])) and not np.isnan(found[2])


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        (
            Rprop,
            {
                "learning_rate": 0.5,
                "initial_step": 0.25,
                "increase": 1.5,
                "decrease": 0.25,
                "step_bounds": [0.125, 2.0],
                "improved": False,
            },
        ),
        (
            HeavyBall,
            {"learning_rate": 0.5, "momentum": 0.25, "dampening": 0.5, "nesterov": False},
        ),
        (HeavyBall, {"momentum": 0.25, "nesterov": True}),
        (
            AdaptiveGain,
            {
                "learning_rate": 0.5,
                "momentum": 0.25,
                "increase": 0.125,
                "decrease": 0.5,
                "gain_bounds": [0.25, 4.0],
            },
        ),
    ],
)
def test_config_round_trip(optimizer, settings):
    settings = {**settings, "weight_decay": 0.125, "clipvalue": 2.0, "name": "mine"}
    made = optimizer(**settings)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert type(copy) is optimizer
    config = copy.get_config()
    assert {key: config[key] for key in settings} == settings
    assert config == made.get_config()


@pytest.mark.parametrize(
    ("optimizer", "wrong", "message"),
    [
        (Rprop, {"increase": 0.9}, "`increase` must be a number of at least 1"),
        (Rprop, {"decrease": 1.0}, r"`decrease` must be a number in \(0, 1\)"),
        (Rprop, {"step_bounds": (2.0, 1.0)}, "`step_bounds` must be two numbers"),
        (Rprop, {"initial_step": 100.0}, "`initial_step` must be a number from 1e-06 to 50"),
        (Rprop, {"weight_decay": -1.0}, "`weight_decay`"),
        (HeavyBall, {"momentum": 1.0}, r"`momentum` must be a number in \[0, 1\)"),
        (HeavyBall, {"dampening": 1.5}, "`dampening` must be a number from 0 to 1"),
        (HeavyBall, {"nesterov": True, "dampening": 0.5}, "no dampening.*dampening=0.5"),
        (HeavyBall, {"nesterov": True, "momentum": 0.0}, "a momentum above 0"),
        (HeavyBall, {"weight_decay": -1.0}, "`weight_decay`"),
        (AdaptiveGain, {"momentum": -0.1}, "`momentum`"),
        (AdaptiveGain, {"increase": -0.1}, "`increase`"),
        (AdaptiveGain, {"decrease": 1.0}, "`decrease`"),
        (AdaptiveGain, {"gain_bounds": (2.0, 3.0)}, r"between which 1 lies.*\(2.0, 3.0\)"),
        (AdaptiveGain, {"weight_decay": -1.0}, "`weight_decay`"),
    ],
)
def test_bad_arguments(optimizer, wrong, message):
    with pytest.raises(ValueError, match=message):
        optimizer(**wrong)
