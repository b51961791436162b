import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.optimizers import LARS

BACKEND = keras.backend.backend()
LIGHTLY = json.loads((Path(__file__).parents[1] / "reference" / "lars.json").read_text())


def numpy_steps(w, gradients, rates, momentum, decay, trust, epsilon=1e-8, nesterov=False):
    """The paper's algorithm on one adapted tensor in float64: the weights after each step."""
    w, v, states = w.astype("float64"), 0.0, []
    for g, rate in zip(gradients, rates, strict=True):
        w_norm, g_norm = np.sqrt(np.sum(w**2)), np.sqrt(np.sum(g.astype("float64") ** 2))
        local = 1.0
        if w_norm > 0 and g_norm > 0:
            local = trust * w_norm / (g_norm + decay * w_norm + epsilon)
        update = rate * local * (g + decay * w)
        v = momentum * v + update
        w = w - (momentum * v + update if nesterov else v)
        states.append(w)
    return states


def variable(value, name="kernel"):
    return keras.Variable(np.asarray(value, "float32"), name=name)


def apply(optimizer, gradients, variables):
    optimizer.apply([ops.convert_to_tensor(np.asarray(g, "float32")) for g in gradients], variables)


def small_model(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(3),
        ]
    )


def data(rng, examples=32):
    return (
        rng.normal(size=(examples, 6)).astype("float32"),
        rng.normal(size=(examples, 3)).astype("float32"),
    )


def fit(model, optimizer, x, y, epochs=3, **compile_arguments):
    model.compile(optimizer=optimizer, loss="mse", **compile_arguments)
    model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [None, 1e-6, 0.3])
def test_equals_the_papers_algorithm_under_a_schedule(rng, momentum, decay, nesterov):
    schedule = keras.optimizers.schedules.CosineDecay(
        0.1, decay_steps=6, warmup_target=2.0, warmup_steps=4
    )
    optimizer = LARS(schedule, momentum, decay, trust_coefficient=0.05, nesterov=nesterov)
    start = rng.normal(size=(3, 2, 4)).astype("float32")
    gradients = rng.normal(size=(10, 3, 2, 4)).astype("float32")
    expected = numpy_steps(
        start,
        gradients,
        [float(schedule(step)) for step in range(10)],
        momentum,
        decay or 0.0,
        trust=0.05,
        nesterov=nesterov,
    )
    w = variable(start)
    for gradient, state in zip(gradients, expected, strict=True):
        apply(optimizer, [gradient], [w])
        np.testing.assert_allclose(w, state, rtol=1e-5, atol=2e-6)
    assert np.max(np.abs(expected[-1] - start)) > 0.1


@pytest.mark.parametrize("case", LIGHTLY["results"], ids=lambda case: str(case["settings"]))
def test_equals_lightly_at_a_constant_learning_rate(case):
    settings = dict(case["settings"])
    optimizer = LARS(settings.pop("lr"), **settings)
    kernel, bias = variable(LIGHTLY["kernel"]), variable(LIGHTLY["bias"], "bias")
    for gradients, (kernel_state, bias_state) in zip(
        LIGHTLY["gradients"], case["states"], strict=True
    ):
        apply(optimizer, gradients, [kernel, bias])
        np.testing.assert_allclose(kernel, kernel_state, rtol=1e-5, atol=2e-6)
        np.testing.assert_allclose(bias, bias_state, rtol=1e-5, atol=1e-5)


def test_step_does_not_depend_on_the_gradients_scale(rng):
    g = rng.normal(size=(3, 4))
    steps = []
    for scale in (1e-3, 1.0, 1e3):
        w = variable(np.ones((3, 4)))
        apply(LARS(1.0, weight_decay=None), [scale * g], [w])
        steps.append(1 - ops.convert_to_numpy(w))
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-3)
    np.testing.assert_allclose(steps[2], steps[1], rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(steps[1]), 0.001 * np.sqrt(12), rtol=1e-3)


def test_without_adaptation_it_is_keras_sgd(rng):
    """Vectors are neither adapted nor decayed."""
    for nesterov in (False, True):
        ours, theirs = variable([1.0, -2.0, 3.0]), variable([1.0, -2.0, 3.0])
        lars = LARS(0.1, momentum=0.8, weight_decay=0.5, nesterov=nesterov)
        sgd = keras.optimizers.SGD(0.1, momentum=0.8, nesterov=nesterov)
        for _ in range(5):
            g = rng.normal(size=3)
            apply(lars, [g], [ours])
            apply(sgd, [g], [theirs])
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_ratio_is_one_for_zero_weights_or_gradients():
    zero_weights, zero_gradient = variable(np.zeros((2, 2))), variable(np.ones((2, 2)))
    optimizer = LARS(0.1, weight_decay=0.5)
    apply(optimizer, [np.ones((2, 2)), np.zeros((2, 2))], [zero_weights, zero_gradient])
    np.testing.assert_allclose(zero_weights, np.full((2, 2), -0.1), rtol=1e-6)
    np.testing.assert_allclose(zero_gradient, np.full((2, 2), 1 - 0.1 * 0.5), rtol=1e-6)
    both = variable(np.zeros((2, 2)))
    apply(LARS(0.1, epsilon=0.0), [np.zeros((2, 2))], [both])
    np.testing.assert_array_equal(both, 0)


def step_of(layer, gradient, optimizer):
    """How far each variable of a layer moves from ones along a constant gradient."""
    for weight in layer.trainable_variables:
        weight.assign(ops.ones(weight.shape))
    variables = layer.trainable_variables
    apply(optimizer, [np.full(v.shape, gradient) for v in variables], variables)
    return {v.name: float(1 - ops.max(v)) for v in variables}


def test_biases_and_norms_are_excluded():
    layers = {
        "dense": keras.layers.Dense(4),
        "convolution": keras.layers.Conv2D(4, 3),
        "batch norm": keras.layers.BatchNormalization(),
        "gru, whose bias has rank 2": keras.layers.GRU(4),
        "embedding": keras.layers.Embedding(5, 4),
    }
    shapes = {"dense": (2, 3), "convolution": (2, 8, 8, 3), "batch norm": (2, 3)}
    for name, layer in layers.items():
        layer.build(shapes.get(name, (2, 5, 3)))
        steps = step_of(layer, 2.0, LARS(0.1, weight_decay=0.5))
        for weight, step in steps.items():
            if weight in ("bias", "gamma", "beta"):  # plain gradient descent, no decay
                assert step == pytest.approx(0.2, rel=1e-4), (name, weight)
            else:  # 0.1 * 0.001 * 1 / (2 + 0.5) * (2 + 0.5)
                assert step == pytest.approx(1e-4, rel=1e-2), (name, weight)


def test_bias_of_attention_has_rank_2_and_is_excluded():
    layer = keras.layers.MultiHeadAttention(2, 3)
    layer.build((2, 5, 6), (2, 5, 6))
    for weight in layer.trainable_variables:
        weight.assign(ops.ones(weight.shape))
    optimizer = LARS(0.1)
    optimizer.build(layer.trainable_variables)
    variables = layer.trainable_variables
    assert any(len(v.shape) == 2 and v.name == "bias" for v in variables)
    apply(optimizer, [np.ones(v.shape) for v in variables], variables)
    for v in variables:
        assert float(1 - ops.max(v)) == pytest.approx(0.1 if v.name == "bias" else 1e-4, rel=1e-2)


def test_exclude_searches_the_path():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, name="body"), keras.layers.Dense(3, name="head")]
    )
    steps = {}
    for name, exclude in (("default", ("bias$",)), ("head", ("bias$", "^head/|/head/"))):
        model.set_weights([np.ones(w.shape) for w in model.get_weights()])
        optimizer = LARS(0.1, exclude=exclude)
        variables = model.trainable_variables
        apply(optimizer, [np.ones(v.shape) for v in variables], variables)
        steps[name] = [float(1 - ops.max(layer.kernel)) for layer in model.layers]
    np.testing.assert_allclose(steps["default"], [1e-4, 1e-4], rtol=1e-2)
    np.testing.assert_allclose(steps["head"], [1e-4, 0.1], rtol=1e-2)


def test_keras_exclude_from_weight_decay_spares_the_decay_alone():
    w, spared = variable(np.ones((2, 2))), variable(np.ones((2, 2)), "spared")
    optimizer = LARS(1.0, weight_decay=1.0, trust_coefficient=0.1)
    optimizer.exclude_from_weight_decay(var_names=["spared"])
    # the gradient of the first is balanced by its decay; its trust ratio is not 0
    apply(optimizer, [-np.ones((2, 2)), -np.ones((2, 2))], [w, spared])
    np.testing.assert_allclose(w, np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_allclose(spared, np.full((2, 2), 1.1), rtol=1e-5)


def test_weight_decay_is_not_applied_a_second_time_by_keras():
    """Keras' base would also shrink the weights by `learning_rate * weight_decay` before a step."""
    w = variable(np.full((2, 2), 3.0))
    apply(LARS(0.5, weight_decay=0.5, trust_coefficient=1e-12), [np.ones((2, 2))], [w])
    np.testing.assert_allclose(w, np.full((2, 2), 3.0), rtol=1e-6)


def test_sparse_gradient_of_an_embedding_equals_the_dense_one():
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow has sparse gradients")
    import tensorflow as tf

    start = np.arange(1.0, 9.0, dtype="float32").reshape(4, 2)
    sparse, dense = variable(start), variable(start)
    rows = tf.IndexedSlices(
        tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 1]), tf.constant([4, 2])
    )
    LARS(1.0, weight_decay=0.1).apply([rows], [sparse])
    LARS(1.0, weight_decay=0.1).apply([tf.convert_to_tensor(rows)], [dense])
    np.testing.assert_array_equal(sparse, dense)
    assert np.any(ops.convert_to_numpy(sparse) != start)


def test_half_precision_variables_have_finite_norms():
    w = keras.Variable(np.full((64, 64), 100.0), dtype="float16")  # the sum of squares overflows
    gradient = ops.convert_to_tensor(np.full((64, 64), 100.0), dtype="float16")
    LARS(1.0, trust_coefficient=0.1).apply([gradient], [w])
    np.testing.assert_allclose(ops.cast(w, "float32"), np.full((64, 64), 90.0), rtol=1e-3)


@pytest.mark.skipif(BACKEND == "jax", reason="Keras' loss scaling on JAX works in `fit` alone")
def test_loss_scaling_of_mixed_precision_changes_nothing(rng):
    start, gradients = rng.normal(size=(3, 4)), rng.normal(size=(4, 3, 4))
    plain, scaled = variable(start), variable(start)
    inner = LARS(1.0, weight_decay=0.1, trust_coefficient=0.1)
    wrapper = keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0)
    optimizer = LARS(1.0, weight_decay=0.1, trust_coefficient=0.1)
    for gradient in gradients:
        apply(optimizer, [gradient], [plain])
        apply(wrapper, [1024 * gradient], [scaled])
    np.testing.assert_allclose(scaled, plain, rtol=1e-5)
    before = ops.convert_to_numpy(scaled)
    apply(wrapper, [np.full((3, 4), np.inf)], [scaled])  # skipped
    np.testing.assert_array_equal(scaled, before)


def test_trains_under_mixed_precision(rng):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small_model()
        before = model.get_weights()
        after = fit(model, LARS(1.0, weight_decay=1e-4), *data(rng))
    finally:
        keras.config.set_dtype_policy(policy)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    for old, new in zip(before, after, strict=True):
        assert new.dtype == "float32"
        assert np.all(np.isfinite(new))
        assert np.any(new != old)


@pytest.mark.parametrize("clip", [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.2}])
def test_clipping_comes_before_the_trust_ratio(rng, clip):
    start, gradient = rng.normal(size=(3, 4)), 10 * rng.normal(size=(3, 4))
    if "clipvalue" in clip:
        clipped = np.clip(gradient, -0.2, 0.2)
    else:
        clipped = gradient * 0.5 / np.linalg.norm(gradient)
    settings = {"learning_rate": 1.0, "weight_decay": 0.3, "trust_coefficient": 0.1}
    ours, expected = variable(start), variable(start)
    apply(LARS(**settings, **clip), [gradient], [ours])
    apply(LARS(**settings), [clipped], [expected])
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_accumulated_gradients_equal_one_step_on_their_mean(rng):
    start, gradients = rng.normal(size=(3, 4)), rng.normal(size=(6, 3, 4))
    settings = {"learning_rate": 1.0, "weight_decay": 0.1, "trust_coefficient": 0.1}
    ours, expected = variable(start), variable(start)
    accumulating = LARS(**settings, gradient_accumulation_steps=3)
    plain = LARS(**settings)
    for i, gradient in enumerate(gradients):
        apply(accumulating, [gradient], [ours])
        if i % 3 == 2:
            apply(plain, [gradients[i - 2 : i + 1].mean(axis=0)], [expected])
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_moving_average_of_the_weights(rng):
    start, gradients = rng.normal(size=(3, 4)), rng.normal(size=(4, 3, 4))
    w = variable(start)
    optimizer = LARS(1.0, trust_coefficient=0.1, use_ema=True, ema_momentum=0.7)
    states = numpy_steps(start, gradients, [1.0] * 4, 0.9, 0.0, trust=0.1)
    average = states[0]
    for gradient in gradients:
        apply(optimizer, [gradient], [w])
    for state in states[1:]:
        average = 0.7 * average + 0.3 * state
    optimizer.finalize_variable_values([w])
    np.testing.assert_allclose(w, average, rtol=1e-4, atol=1e-6)


def test_two_replicas_end_with_the_weights_of_one(rng, two_replicas):
    x, y = data(rng)
    settings = {"learning_rate": 0.05, "weight_decay": 1e-3, "trust_coefficient": 0.5}
    expected = fit(small_model(), LARS(**settings), x, y)
    with two_replicas.scope():
        model = small_model()
        weights = fit(model, LARS(**settings), x, y)
    assert np.max(np.abs(small_model().get_weights()[0] - weights[0])) > 0.01
    for ours, one in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, one, rtol=1e-5, atol=1e-5)


def test_compiled_equals_uncompiled(rng):
    x, y = data(rng)
    weights = [
        fit(
            small_model(),
            LARS(0.05, weight_decay=1e-3, trust_coefficient=0.5),
            x,
            y,
            jit_compile=jit,
        )
        for jit in (False, True)
    ]
    for plain, compiled in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras refuses stateless_apply on TensorFlow")
def test_stateless_apply_equals_apply(rng):
    import jax

    start, gradients = rng.normal(size=(3, 4)), rng.normal(size=(4, 3, 4)).astype("float32")
    settings = {"learning_rate": 1.0, "weight_decay": 0.1, "trust_coefficient": 0.1}
    w, stateful = variable(start), LARS(**settings)
    stateless = LARS(**settings)
    stateless.build([w])
    weights, state = [w.value], [v.value for v in stateless.variables]
    step = jax.jit(stateless.stateless_apply)
    for gradient in gradients:
        weights, state = step(state, [gradient], weights)
    for gradient in gradients:
        apply(stateful, [gradient], [w])
    np.testing.assert_allclose(weights[0], w, rtol=1e-6)


def test_a_saved_run_resumes_as_if_it_had_not_stopped(rng, tmp_path):
    x, y = data(rng)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=8, warmup_target=2.0, warmup_steps=2
    )
    model = small_model()
    fit(model, LARS(schedule, weight_decay=1e-3, exclude=("bias$", "dense_1")), x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, LARS)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    stopped = [w.copy() for w in model.get_weights()]
    for one in (model, loaded):
        one.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    for before, ours, theirs in zip(
        stopped, loaded.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
        assert np.any(before != theirs)


def test_config_round_trip():
    settings = {
        "learning_rate": 0.5,
        "momentum": 0.5,
        "weight_decay": 0.25,
        "trust_coefficient": 0.125,
        "epsilon": 0.0625,
        "nesterov": True,
        "exclude": ["a", "b$"],
        "clipvalue": 2.0,
        "use_ema": True,
        "ema_momentum": 0.75,
        "ema_overwrite_frequency": 5,
        "loss_scale_factor": 4.0,
        "gradient_accumulation_steps": 3,
        "name": "mine",
    }
    optimizer = LARS(**settings)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, LARS)
    config = copy.get_config()
    assert {key: config[key] for key in settings} == settings
    assert config == optimizer.get_config()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"momentum": 1.0}, r"`momentum` must be a number in \[0, 1\). Received: momentum=1.0"),
        ({"momentum": -0.1}, "`momentum`"),
        ({"weight_decay": -1e-6}, "`weight_decay` must be a number of at least 0.*-1e-06"),
        ({"trust_coefficient": 0}, "`trust_coefficient` must be a positive number"),
        ({"epsilon": -1.0}, "`epsilon` must be a number of at least 0"),
        ({"exclude": "bias"}, "`exclude` must be a sequence.*Received: exclude=bias"),
        ({"exclude": ["("]}, "`exclude` must hold regular expressions.*unterminated"),
        ({"learning_rate": "fast"}, "`learning_rate`"),
    ],
)
def test_bad_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        LARS(**wrong)
