import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl.layers import Center, SinkhornCenter
from tests.losses.gradients import value_and_gradients

BACKEND = keras.backend.backend()


class TestConformance(TestCase):
    def test_scores(self):
        self.check((8, 5))

    def test_scores_of_views(self):
        self.check((2, 8, 5), momentum=0.0)

    def check(self, input_shape, **arguments):
        self.run_layer_test(
            Center,
            init_kwargs=arguments,
            input_shape=input_shape,
            expected_output_shape=input_shape,
            expected_num_non_trainable_weights=1,
            supports_masking=True,
            # the layer computes in float32 whatever the policy, which Keras' check does not expect
            run_mixed_precision_check=False,
        )


def test_equals_the_formula_over_steps(rng):
    layer = Center(momentum=0.8)
    center = np.zeros(5)
    for _ in range(4):
        x = rng.normal(2, 1, size=(2, 6, 5)).astype("float32")
        np.testing.assert_allclose(layer(x, training=True), x - center, rtol=1e-5, atol=1e-6)
        center = 0.8 * center + 0.2 * x.astype("float64").mean(axis=(0, 1))
        np.testing.assert_allclose(layer.center, center, rtol=1e-5)
    # outside training nothing changes
    np.testing.assert_allclose(layer(x), x - center, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.center, center, rtol=1e-5)


def test_centre_is_constant_in_the_gradient(rng):
    layer = Center()
    x = rng.normal(size=(6, 5)).astype("float32")
    layer(x, training=True)
    slope = rng.normal(size=(6, 5)).astype("float32")
    # JAX would keep the assigned value of a traced step: no training there
    training = BACKEND == "tensorflow"
    _, (gradient,) = value_and_gradients(lambda x: ops.sum(slope * layer(x, training=training)), x)
    np.testing.assert_allclose(gradient, slope)
    assert not layer.trainable_weights


@pytest.mark.parametrize("jit_compile", [False, True])
def test_updates_once_per_compiled_call(rng, jit_compile):
    if BACKEND != "tensorflow":
        pytest.skip("needs TensorFlow")
    import tensorflow as tf

    layer = Center(momentum=0.5)
    x = rng.normal(size=(6, 5)).astype("float32")
    layer.build(x.shape)
    tf.function(lambda x: layer(x, training=True), jit_compile=jit_compile)(x)
    np.testing.assert_allclose(layer.center, 0.5 * x.mean(axis=0), rtol=1e-5, atol=1e-7)


def test_two_replicas_have_the_centre_of_one(rng, two_replicas):
    import tensorflow as tf

    x = rng.normal(3, 1, size=(8, 5)).astype("float32")
    alone = Center(momentum=0.5)
    for _ in range(2):
        expected = alone(x, training=True)
    with two_replicas.scope():
        layer = Center(momentum=0.5)
        layer.build(x.shape)
    part = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(x[4 * context.replica_id_in_sync_group :][:4])
    )
    step = tf.function(
        lambda part: two_replicas.run(lambda x: layer(x, training=True), args=(part,))
    )
    for _ in range(2):
        outputs = step(part)
    local = two_replicas.experimental_local_results
    np.testing.assert_allclose(np.concatenate(local(outputs)), expected, rtol=1e-5, atol=1e-6)
    centers = local(layer.center.value)
    assert len(centers) == 2
    np.testing.assert_array_equal(centers[0], centers[1])
    np.testing.assert_allclose(centers[0], alone.center, rtol=1e-5)


def test_saved_with_its_model(rng, tmp_path):
    model = keras.Sequential([keras.Input((5,)), Center(momentum=0.7)])
    x = rng.normal(size=(6, 5)).astype("float32")
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].momentum == 0.7
    np.testing.assert_array_equal(loaded.layers[-1].center, model.layers[-1].center)
    assert np.any(ops.convert_to_numpy(loaded.layers[-1].center))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_computes_in_float32_under_mixed_precision(rng, policy, set_dtype_policy):
    set_dtype_policy(policy)
    layer = Center(momentum=0.5)
    x = ops.cast(1000 + rng.normal(size=(6, 5)), "float32")
    layer(x, training=True)
    mean = ops.convert_to_numpy(x).astype("float64").mean(axis=0)
    np.testing.assert_allclose(layer.center, 0.5 * mean, rtol=1e-6)
    outputs = layer(x)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    np.testing.assert_allclose(outputs, x - 0.5 * mean, rtol=1e-5)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_out_of_range(momentum):
    with pytest.raises(ValueError, match=f"`momentum` must be.*momentum={momentum}"):
        Center(momentum=momentum)


@pytest.mark.parametrize("momentum", ["0.9", True, None])
def test_momentum_of_another_type(momentum):
    with pytest.raises(TypeError, match="`momentum` must be a number"):
        Center(momentum=momentum)


@pytest.mark.parametrize("shape", [(5,), (4, None)])
def test_bad_shapes(shape):
    with pytest.raises(ValueError, match="`inputs` must have rank 2 or more"):
        Center().build(shape)


def test_sinkhorn_center_gives_the_assignments_of_the_algorithm(rng):
    """As the authors of DINOv2 compute them, in float64."""
    scores = rng.uniform(-1, 1, size=(2, 4, 5))
    q = np.exp(scores.reshape(8, 5) / 0.1).T
    for _ in range(3):
        q /= q.sum(axis=1, keepdims=True) * 5
        q /= q.sum(axis=0, keepdims=True) * 8
    expected = (8 * q.T).reshape(2, 4, 5)
    centred = SinkhornCenter(temperature=0.1)(scores.astype("float32"), training=True)
    np.testing.assert_allclose(ops.softmax(centred / 0.1), expected, rtol=1e-4, atol=1e-7)


def test_sinkhorn_center_is_finite_for_certain_scores():
    scores = np.array([[1, -1], [-1, 1]], "float32")
    centred = ops.convert_to_numpy(SinkhornCenter(temperature=0.001)(scores))
    assert np.all(np.isfinite(centred))
    np.testing.assert_allclose(ops.softmax(centred / 0.001), np.eye(2), atol=1e-6)


def test_sinkhorn_center_is_saved_with_a_schedule():
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.04, 10, 0.07)
    layer = SinkhornCenter(warm_up, iterations=2)
    copy = SinkhornCenter.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config() and copy.iterations == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"temperature": 0.0}, ValueError, "`temperature`"),
        ({"iterations": 0}, ValueError, "`iterations`"),
        ({"iterations": 1.5}, TypeError, "`iterations`"),
    ],
)
def test_sinkhorn_center_out_of_range(arguments, error, message):
    with pytest.raises(error, match=message):
        SinkhornCenter(**arguments)
