import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl.layers import SyncBatchNormalization

BACKEND = keras.backend.backend()
only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
SHAPES = {"features": (12, 5), "maps": (6, 4, 3, 5)}
EPSILON = 1e-5


class TestConformance(TestCase):
    def check(self, input_shape, **arguments):
        self.run_layer_test(
            SyncBatchNormalization,
            init_kwargs=arguments,
            input_shape=input_shape,
            expected_output_shape=input_shape,
            expected_num_non_trainable_weights=2,
            supports_masking=True,
        )

    def test_features(self):
        self.check((8, 5))

    def test_maps(self):
        self.check((4, 3, 3, 5), momentum=0.99, epsilon=1e-3)

    def test_maps_without_scale_and_offset(self):
        self.check((4, 3, 3, 5), center=False, scale=False)

    def test_maps_channels_first(self):
        self.check((4, 5, 3, 3), axis=1)


def filled(layer, shape, rng):
    """Build `layer` with random weights."""
    layer.build(shape)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 2, weight.shape))
    return layer


def value_and_gradients(layer, x, dy, jit_compile=False):
    """Output in training, and the gradients of `sum(dy * y)` in x, gamma and beta."""
    import tensorflow as tf

    @tf.function(jit_compile=jit_compile)
    def run(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            total = tf.reduce_sum(tf.cast(y, "float32") * dy)
        return y, tape.gradient(total, [x, *layer.trainable_variables])

    y, gradients = run(tf.constant(x, layer.compute_dtype), tf.constant(dy, "float32"))
    return y, gradients


def mean_and_variance(x):
    axes = tuple(range(x.ndim - 1))
    return x.mean(axes), x.var(axes)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_equals_the_formula(shape, rng):
    layer = filled(SyncBatchNormalization(momentum=0.7), shape, rng)
    gamma, beta, old_mean, old_variance = (np.asarray(w, "float64") for w in layer.get_weights())
    x = rng.normal(3, 2, shape)
    mean, variance = mean_and_variance(x)

    expected = gamma * (x - old_mean) / np.sqrt(old_variance + EPSILON) + beta
    np.testing.assert_allclose(layer(x, training=False), expected, rtol=1e-5, atol=1e-5)
    expected = gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-5, atol=1e-5)
    # PyTorch's moving variance is unbiased; Keras' and ours are biased
    np.testing.assert_allclose(layer.moving_mean, 0.7 * old_mean + 0.3 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.7 * old_variance + 0.3 * variance, 1e-5)


@only_tensorflow
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_gradients_equal_the_closed_form(shape, rng):
    layer = filled(SyncBatchNormalization(), shape, rng)
    gamma = np.asarray(layer.gamma, "float64")
    x, dy = rng.normal(3, 2, shape), rng.normal(size=shape)
    axes = tuple(range(x.ndim - 1))
    mean, variance = mean_and_variance(x)
    x_hat = (x - mean) / np.sqrt(variance + EPSILON)
    dx = dy - dy.mean(axes) - x_hat * (dy * x_hat).mean(axes)
    expected = [
        gamma / np.sqrt(variance + EPSILON) * dx,
        (dy * x_hat).sum(axes),
        dy.sum(axes),
    ]
    _, gradients = value_and_gradients(layer, x, dy)
    for ours, formula in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, formula, rtol=1e-4, atol=1e-5)


@pytest.mark.few(3)
@only_tensorflow
@pytest.mark.parametrize("jit_compile", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 3e-5), ("mixed_bfloat16", 2e-2), ("mixed_float16", 4e-3)]
)
@pytest.mark.parametrize("affine", [True, False])
def test_fused_kernel_equals_keras(dtype, tolerance, jit_compile, affine, rng):
    shape = (8, 5, 3, 4)
    ours = filled(SyncBatchNormalization(dtype=dtype, center=affine, scale=affine), shape, rng)
    keras_layer = keras.layers.BatchNormalization(
        momentum=0.9, epsilon=EPSILON, dtype=dtype, center=affine, scale=affine
    )
    keras_layer.build(shape)
    keras_layer.set_weights(ours.get_weights())
    x, dy = rng.normal(1, 2, shape), rng.normal(size=shape)
    y, gradients = value_and_gradients(ours, x, dy, jit_compile)
    expected, expected_gradients = value_and_gradients(keras_layer, x, dy, jit_compile)
    assert y.dtype == expected.dtype
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(ops.cast(y, "float32"), ops.cast(expected, "float32"), **close)
    for mine, theirs in zip(gradients, expected_gradients, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(ops.cast(mine, "float32"), ops.cast(theirs, "float32"), **close)
    for mine, theirs in zip(ours.get_weights(), keras_layer.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        ops.cast(ours(ops.cast(x, y.dtype)), "float32"),
        ops.cast(keras_layer(ops.cast(x, y.dtype)), "float32"),
        **close,
    )


@only_tensorflow
def test_inputs_of_the_fused_kernel():
    import tensorflow as tf

    def kernels(shape, training=True, mask=None, **arguments):
        layer = SyncBatchNormalization(**arguments)
        layer.build(shape)
        call = tf.function(lambda x: layer(x, training=training, mask=mask))
        graph = call.get_concrete_function(tf.TensorSpec((None, *shape[1:]), layer.dtype)).graph
        return sum(node.type == "FusedBatchNormV3" for node in graph.get_operations())

    assert kernels((4, 3, 3, 2)) == 1
    assert kernels((4, 3, 3, 2), training=False) == 1
    assert kernels((4, 2)) == 0
    assert kernels((4, 2, 3, 3), axis=1) == 0
    assert kernels((4, 3, 3, 2), renorm=True) == 0
    assert kernels((4, 3, 3, 2), dtype="float64") == 0
    assert kernels((4, 3, 3, 2), mask=tf.ones((4, 3, 3), "bool")) == 0


@only_tensorflow
def test_second_derivative_of_the_fused_kernel(rng):
    import tensorflow as tf

    shape = (3, 2, 2, 2)

    def second(layer):
        x = tf.constant(x_value, "float32")
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(layer(x, training=True) ** 3)
            penalty = tf.reduce_sum(inner.gradient(y, x) ** 2)
        return outer.gradient(penalty, x)

    x_value = rng.normal(size=shape)
    ours = filled(SyncBatchNormalization(epsilon=1e-2), shape, rng)
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-2)
    theirs.build(shape)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(second(ours), second(theirs), rtol=2e-3, atol=2e-3)


def test_one_value_per_channel_has_no_variance():
    layer = SyncBatchNormalization(momentum=0.5)
    y = layer(np.full((1, 1, 1, 3), 7.0, "float32"), training=True)
    np.testing.assert_allclose(y, np.zeros((1, 1, 1, 3)), atol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, [3.5] * 3)
    np.testing.assert_allclose(layer.moving_variance, [0.5] * 3)


def test_frozen_layer_uses_moving_statistics(rng):
    layer = SyncBatchNormalization()
    x = rng.normal(5, 1, (4, 3, 3, 2)).astype("float32")
    layer(x)
    layer.trainable = False
    np.testing.assert_allclose(layer(x, training=True), x / np.sqrt(1 + EPSILON), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(2))


def test_masked_rows_are_excluded(rng):
    x = rng.normal(2, 3, (6, 4, 5)).astype("float32")
    mask = rng.uniform(size=(6, 4)) < 0.5
    layer = SyncBatchNormalization(momentum=0.0)
    layer(x, training=True, mask=ops.convert_to_tensor(mask))
    mean, variance = mean_and_variance(x[mask].astype("float64"))
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)


@only_tensorflow
@pytest.mark.parametrize("shape", [(8, 5), (8, 4, 3, 5)], ids=["features", "maps"])
def test_two_replicas_equal_one_on_the_global_batch(two_replicas, shape, rng):
    import tensorflow as tf

    x = rng.normal(1, 2, (3, *shape)).astype("float32")
    dy = rng.normal(size=shape).astype("float32")

    def train(strategy):
        with strategy.scope():
            layer = SyncBatchNormalization()
            layer.build(shape)
            optimizer = keras.optimizers.SGD(0.1)
            optimizer.build(layer.trainable_variables)
        count = strategy.num_replicas_in_sync

        def step(x, dy):
            with tf.GradientTape() as tape:
                # the mean of each replica's sum is the sum over the global batch
                total = tf.reduce_sum(layer(x, training=True) * dy)
            gradients = tape.gradient(total, layer.trainable_variables)
            optimizer.apply(gradients, layer.trainable_variables)

        @tf.function
        def run(x, dy):
            rows = shape[0] // count

            def part(whole):
                return strategy.experimental_distribute_values_from_function(
                    lambda c: whole[c.replica_id_in_sync_group * rows :][:rows]
                )

            strategy.run(step, args=(part(x), part(dy)))

        for batch in x:
            run(tf.constant(batch), tf.constant(dy))
        return layer.get_weights()

    one = train(tf.distribute.get_strategy())
    two = train(two_replicas)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)
    # statistics of single replicas would give something else
    separate = [mean_and_variance(half)[1] for half in np.split(x[-1], 2)]
    assert not np.allclose(np.mean(separate, axis=0), mean_and_variance(x[-1])[1], rtol=1e-2)


def on_two_replicas(strategy, shape, step, *arrays):
    """Results of `step` on both replicas for their halves of `arrays`, stacked."""
    import tensorflow as tf

    def part(whole):
        halves = np.split(np.asarray(whole, "float32"), 2)
        return strategy.experimental_distribute_values_from_function(
            lambda c: tf.constant(halves[c.replica_id_in_sync_group])
        )

    parts = [part(array) for array in arrays]
    outputs = tf.function(lambda *xs: strategy.run(step, args=xs))(*parts)
    return [
        np.stack(
            [np.asarray(ops.cast(v, "float32")) for v in strategy.experimental_local_results(o)]
        )
        for o in outputs
    ]


@only_tensorflow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("mixed_bfloat16", 3e-2)])
@pytest.mark.parametrize("shape", [(8, 4, 3, 5), (8, 5), (8, 3, 5)], ids=str)
def test_gradients_on_two_replicas_equal_the_closed_form(
    two_replicas, shape, dtype, tolerance, rng
):
    import tensorflow as tf

    with two_replicas.scope():
        layer = filled(SyncBatchNormalization(dtype=dtype), shape, rng)
    gamma, beta = (np.asarray(w, "float64") for w in layer.get_weights()[:2])
    x, dy = rng.normal(3, 2, shape), rng.normal(size=shape)

    def step(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(tf.cast(x, layer.compute_dtype), training=True)
            total = tf.reduce_sum(tf.cast(y, "float32") * dy)
        return y, *tape.gradient(total, [x, *layer.trainable_variables])

    y, dx, dgamma, dbeta = on_two_replicas(two_replicas, shape, step, x, dy)
    axes = tuple(range(x.ndim - 1))
    mean, variance = mean_and_variance(x)
    x_hat = (x - mean) / np.sqrt(variance + EPSILON)
    expected = dy - dy.mean(axes) - x_hat * (dy * x_hat).mean(axes)
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(np.concatenate(y), gamma * x_hat + beta, **close)
    expected = gamma / np.sqrt(variance + EPSILON) * expected
    np.testing.assert_allclose(np.concatenate(dx), expected, **close)
    # each replica's share, which the optimizer adds up
    np.testing.assert_allclose(
        dgamma.sum(axis=0), (dy * x_hat).sum(axes), **(close | {"atol": 0.1})
    )
    np.testing.assert_allclose(dbeta.sum(axis=0), dy.sum(axes), **(close | {"atol": 0.1}))


@only_tensorflow
@pytest.mark.parametrize("shape", [(8, 4, 3, 5), (8, 5)], ids=str)
def test_replicas_exchange_two_tensors_per_step(two_replicas, shape, monkeypatch):
    import tensorflow as tf

    from keras_ssl import distribute

    with two_replicas.scope():
        layer = SyncBatchNormalization()
        layer.build(shape)
    exchanged, all_reduce_sum = [], distribute.all_reduce_sum

    def note(x):
        exchanged.append(tuple(x.shape))
        return all_reduce_sum(x)

    monkeypatch.setattr(distribute, "all_reduce_sum", note)

    def step(x):
        with tf.GradientTape() as tape:
            y = layer(x, training=True)
        return tape.gradient(y, [layer.gamma.value])

    on_two_replicas(two_replicas, shape, step, np.ones(shape))
    channels, replicas = shape[-1], two_replicas.num_replicas_in_sync
    assert sorted(exchanged) == [(2 * channels,)] * replicas + [(1 + 2 * channels,)] * replicas


@only_tensorflow
def test_second_derivative_on_two_replicas_is_that_of_one(two_replicas, rng):
    import tensorflow as tf

    shape = (4, 2, 2, 3)
    x_value = rng.normal(size=shape)
    weight = rng.normal(size=shape)

    def make(strategy):
        with strategy.scope():
            layer = SyncBatchNormalization(epsilon=1e-2)
            layer.build(shape)
            layer.gamma.assign([0.5, 1.0, 2.0])
        return layer

    def step_of(layer):
        def step(x, weight):
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    y = tf.reduce_sum(weight * layer(x, training=True) ** 2)
                penalty = tf.reduce_sum(weight * inner.gradient(y, x) ** 2)
            return (*outer.gradient(penalty, [x, layer.gamma.value]),)

        return step

    one = make(tf.distribute.get_strategy())
    x, w = (tf.constant(value, "float32") for value in (x_value, weight))
    expected_x, expected_gamma = step_of(one)(x, w)
    two = make(two_replicas)
    got_x, got_gamma = on_two_replicas(two_replicas, shape, step_of(two), x_value, weight)
    np.testing.assert_allclose(np.concatenate(got_x), expected_x, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(got_gamma.sum(axis=0), expected_gamma, rtol=1e-3, atol=1e-3)


@only_tensorflow
def test_large_mean_is_accurate_with_a_close_moving_mean(two_replicas, rng):
    shape = (8, 4, 4, 2)
    x = rng.normal(1000, 1, shape)
    with two_replicas.scope():
        layer = SyncBatchNormalization()
        layer.build(shape)
        layer.moving_mean.assign([1000.0, 1000.0])
    (y,) = on_two_replicas(two_replicas, shape, lambda x: (layer(x, training=True),), x)
    x = x.astype("float32").astype("float64")
    mean, variance = mean_and_variance(x)
    expected = (x - mean) / np.sqrt(variance + EPSILON)
    np.testing.assert_allclose(np.concatenate(y), expected, rtol=1e-3, atol=1e-3)


def test_config_has_no_synchronized():
    layer = SyncBatchNormalization(momentum=0.8, epsilon=1e-4, scale=False)
    assert "synchronized" not in layer.get_config()
    again = SyncBatchNormalization.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    with pytest.raises(ValueError, match=r"synchronizes.*Received"):
        SyncBatchNormalization(synchronized=True)


@only_tensorflow
def test_masked_statistics_are_those_of_all_replicas(two_replicas, rng):
    """Replicas have different numbers of unmasked positions, as of graphs of different sizes."""
    x, mask = rng.normal(3, 2, (8, 6, 5)), rng.uniform(size=(8, 6)) < 0.5
    mask[:4, 2:] = False
    with two_replicas.scope():
        layer = SyncBatchNormalization(momentum=0.0, epsilon=EPSILON)
        layer.build(x.shape)

    def step(x, mask):
        return (layer(x, training=True, mask=mask > 0),)

    (y,) = on_two_replicas(two_replicas, x.shape, step, x, mask)
    mean, variance = mean_and_variance(x[mask])
    expected = (x - mean) / np.sqrt(variance + EPSILON)
    np.testing.assert_allclose(np.concatenate(y), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)
