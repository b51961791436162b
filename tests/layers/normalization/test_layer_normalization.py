"""Layer normalization of tokens in a training step: float64 formula, extremes, derivatives."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.layers.normalization._layer_normalization import LayerNormalization

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the loops are TensorFlow's"
)
SHAPE = (3, 32, 128)
EPSILON = 1e-6


def made(dtype="float32", width=SHAPE[-1], kind=LayerNormalization, **arguments):
    layer = kind(epsilon=EPSILON, dtype=dtype, **arguments)
    layer.build((None, None, width))
    random = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(random.normal(1, 0.3, weight.shape))
    return layer


def step(layer, x, dy, jit_compile=False):
    """Output and gradients of tokens, scale and offset, of a layer in a TensorFlow graph."""
    import tensorflow as tf

    def run(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        weights = [weight.value for weight in layer.trainable_weights]
        return y, *tape.gradient(y, [x, *weights], output_gradients=dy)

    dtype = layer.compute_dtype
    tokens = tf.TensorSpec((None, *x.shape[1:]), dtype)
    function = tf.function(run, jit_compile=jit_compile, input_signature=[tokens] * 2)
    x, dy = (tf.cast(one, dtype) for one in (x, dy))
    return [np.asarray(ops.cast(one, "float64")) for one in function(x, dy)]


def formula(layer, x, dy):
    """The same in float64, of the numbers that the layer sees."""
    x, dy = (ops.convert_to_numpy(ops.cast(one, layer.compute_dtype)) for one in (x, dy))
    x, dy = np.float64(x), np.float64(dy)
    gamma, beta = (np.float64(ops.convert_to_numpy(weight)) for weight in layer.weights)
    deviation = x - x.mean(axis=-1, keepdims=True)
    factor = 1 / np.sqrt((deviation**2).mean(axis=-1, keepdims=True) + EPSILON)
    x_hat, d = deviation * factor, dy * gamma
    dx = d - d.mean(axis=-1, keepdims=True) - x_hat * (d * x_hat).mean(axis=-1, keepdims=True)
    return [x_hat * gamma + beta, dx * factor, (dy * x_hat).sum((0, 1)), dy.sum((0, 1))]


@only_tensorflow
@pytest.mark.parametrize(
    ("dtype", "tolerance", "jit_compile"),
    [
        ("float32", 2e-5, False),
        ("float32", 2e-5, True),
        ("mixed_bfloat16", 1e-2, False),
        ("mixed_float16", 1e-3, False),
    ],
)
def test_value_and_gradients_equal_the_formula(dtype, tolerance, jit_compile, rng):
    layer = made(dtype)
    x, dy = rng.normal(2, 3, SHAPE), rng.normal(size=SHAPE)
    found = step(layer, x, dy, jit_compile=jit_compile)
    for ours, expected in zip(found, formula(layer, x, dy), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours / scale, expected / scale, atol=tolerance)


@only_tensorflow
@pytest.mark.parametrize(
    ("mean", "deviation"), [(1e4, 1e-2), (-1234.5, 1e-3), (0.0, 1e-12), (0.0, 1e15)]
)
def test_a_far_mean_and_small_and_large_deviations_are_accurate(mean, deviation, rng):
    layer = made()
    x = np.float32(rng.normal(mean, deviation, SHAPE))
    found = step(layer, x, rng.normal(size=SHAPE))
    expected = formula(layer, x, np.zeros(SHAPE))
    np.testing.assert_allclose(found[0], expected[0], atol=2e-5)


@only_tensorflow
def test_extremes_are_finite(rng):
    layer = made()
    dy = rng.normal(size=SHAPE)
    for value in (0.0, 7.0, -1e18):
        y, dx, *_ = step(layer, np.full(SHAPE, value), dy)
        np.testing.assert_allclose(y, np.broadcast_to(np.asarray(layer.beta), SHAPE), atol=1e-5)
        assert np.all(np.isfinite(dx))
    half = step(made("mixed_float16"), rng.normal(0, 6e4, SHAPE).clip(-65504, 65504), dy)
    assert all(np.all(np.isfinite(one)) for one in half)
    assert np.all(np.isnan(step(layer, np.full(SHAPE, np.nan), dy)[0]))


@only_tensorflow
def test_gradient_is_the_slope(rng):
    """Differences of the layer's own outputs, along a random direction."""
    layer = made()
    x, dy, direction = (rng.normal(size=SHAPE) for _ in range(3))

    def total(x):
        return (step(layer, x, dy)[0] * dy).sum()

    slope = (total(x + 1e-2 * direction) - total(x - 1e-2 * direction)) / 2e-2
    np.testing.assert_allclose((step(layer, x, dy)[1] * direction).sum(), slope, rtol=2e-3)


@only_tensorflow
def test_second_derivative_is_that_of_keras(rng):
    import tensorflow as tf

    x_value = rng.normal(size=(2, 64, 64))

    def second(layer, **arguments):
        @tf.function
        def run(x):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = tf.reduce_sum(layer(x, **arguments) ** 3)
                penalty = tf.reduce_sum(inner.gradient(y, x) ** 2)
            return outer.gradient(penalty, [x, *(w.value for w in layer.trainable_weights)])

        return run(tf.constant(x_value, "float32"))

    ours = second(made(width=64), training=True)
    theirs = second(made(width=64, kind=keras.layers.LayerNormalization))
    for mine, other in zip(ours, theirs, strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(mine / scale, other / scale, atol=1e-4)


@only_tensorflow
def test_where_loops_are_compiled(rng):
    import tensorflow as tf

    def is_compiled(shape=(2, 32, 128), training=True, dtype="float32", **arguments):
        layer = LayerNormalization(dtype=dtype, **arguments)
        layer.build(shape)
        call = tf.function(lambda x: layer(x, training=training))
        graph = call.get_concrete_function(tf.TensorSpec((None, *shape[1:]), dtype)).graph
        calls = [one for one in graph.get_operations() if "PartitionedCall" in one.type]
        return bool(calls)

    assert is_compiled()
    assert not is_compiled(training=False)
    assert not is_compiled((2, 4, 8))
    assert not is_compiled((2, None, 128))
    assert not is_compiled((2, 4096))
    assert not is_compiled((2, 8, 8, 64))
    assert not is_compiled(center=False)
    assert not is_compiled(axis=1)
    assert not is_compiled(dtype="float64")
    layer = made()
    x = rng.normal(size=SHAPE).astype("float32")
    expected = keras.layers.LayerNormalization.call(layer, ops.convert_to_tensor(x))
    np.testing.assert_array_equal(layer(x, training=True), expected)


@only_tensorflow
def test_two_replicas_equal_one(two_replicas, rng):
    import tensorflow as tf

    x, dy = (rng.normal(size=(4, 32, 128)).astype("float32") for _ in range(2))

    def gradients(strategy, parts):
        with strategy.scope():
            layer = made()

        def run(x, dy):
            with tf.GradientTape() as tape:
                y = layer(x, training=True)
            weights = [weight.value for weight in layer.trainable_weights]
            found = tape.gradient(y, weights, output_gradients=dy)
            context = tf.distribute.get_replica_context()
            return [context.all_reduce("sum", one) for one in found]

        inputs = [
            strategy.experimental_distribute_values_from_function(
                lambda c, whole=whole: tf.constant(
                    np.split(whole, parts)[c.replica_id_in_sync_group]
                )
            )
            for whole in (x, dy)
        ]
        found = tf.function(lambda *xs: strategy.run(run, args=xs))(*inputs)
        return [strategy.experimental_local_results(one)[0] for one in found]

    one = gradients(tf.distribute.get_strategy(), 1)
    for a, b in zip(gradients(two_replicas, 2), one, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_outside_of_a_step_it_is_the_layer_of_keras(rng):
    layer = made()
    x = rng.normal(2, 3, SHAPE).astype("float32")
    expected = formula(layer, x, np.zeros(SHAPE))[0]
    for training in (False, True):
        found = ops.convert_to_numpy(layer(x, training=training))
        np.testing.assert_allclose(found, expected, atol=2e-5)
    model = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=2e-5)
