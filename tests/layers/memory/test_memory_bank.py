import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl.layers import MemoryBank
from tests.losses.gradients import value_and_gradients

BACKEND = keras.backend.backend()


class TestConformance(TestCase):
    def test_basics(self):
        self.run_layer_test(
            MemoryBank,
            init_kwargs={"size": 8, "momentum": 0.25, "seed": 1},
            input_shape={"inputs_shape": (4, 3), "indices_shape": (4,)},
            input_dtype={"inputs_shape": "float32", "indices_shape": "int32"},
            expected_output_shape=(4, 3),
            expected_num_trainable_weights=0,
            expected_num_non_trainable_weights=1,
            expected_num_seed_generators=0,
            supports_masking=False,
            # Keras' check trains layers of one input alone
            run_training_check=False,
            # the layer computes in float32 whatever the policy, which Keras' check does not expect
            run_mixed_precision_check=False,
        )


def bank_of(momentum=0.5, size=7, dim=3, **arguments):
    bank = MemoryBank(size, momentum, seed=0, **arguments)
    bank.build((None, dim))
    return bank


def normalized(z):
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def held_by(bank):
    return ops.convert_to_numpy(bank.embeddings)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_equals_the_formula_over_steps(rng, momentum):
    bank = bank_of(momentum)
    expected = held_by(bank).astype("float64")
    for indices in ([4, 0, 6], [1, 4, 2], [0, 6, 3]):
        z = rng.normal(scale=5, size=(3, 3)).astype("float32")
        before = bank(z, np.array(indices), training=True)
        np.testing.assert_allclose(before, expected[indices], rtol=1e-5, atol=1e-6)
        for i, row in zip(indices, z, strict=True):
            expected[i] = normalized(momentum * expected[i] + (1 - momentum) * normalized(row))
        np.testing.assert_allclose(held_by(bank), expected, rtol=1e-5, atol=1e-6)


def test_last_of_equal_indices_counts(rng):
    z = rng.normal(size=(4, 3)).astype("float32")
    several, single = bank_of(), bank_of()
    several(z, np.array([5, 2, 5, 5]), training=True)
    single(z[[1, 3]], np.array([2, 5]), training=True)
    np.testing.assert_allclose(held_by(several), held_by(single), rtol=1e-6)


def test_starts_with_random_directions():
    first, second = bank_of(size=64, dim=8), bank_of(size=64, dim=8)
    np.testing.assert_allclose(np.linalg.norm(held_by(first), axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(held_by(first), held_by(second))
    assert np.linalg.matrix_rank(held_by(first)) == 8


def test_inference_does_not_update(rng):
    bank = bank_of()
    before = held_by(bank)
    for training in (False, None):
        bank(rng.normal(size=(2, 3)), np.array([0, 1]), training=training)
    np.testing.assert_array_equal(held_by(bank), before)


def test_rows_of_any_shape():
    bank = bank_of()
    indices = np.array([[0, 6], [3, 3]], "int64")
    np.testing.assert_array_equal(bank.rows(indices), held_by(bank)[indices])


@pytest.mark.parametrize("scale", [0.0, 1e30, 1e-30])
def test_extreme_embeddings_leave_finite_directions(rng, scale):
    bank = bank_of()
    z = (scale * rng.normal(size=(2, 3))).astype("float32")
    bank(z, np.array([1, 2]), training=True)
    np.testing.assert_allclose(np.linalg.norm(held_by(bank), axis=1), 1.0, rtol=1e-5)


def test_bank_has_no_gradient(rng):
    bank = bank_of()
    z = rng.normal(size=(2, 3)).astype("float32")
    # JAX would keep the assigned value of a traced step: no training there
    training = BACKEND == "tensorflow"
    indices = np.array([1, 2])

    def loss(z):
        return ops.sum(z) + ops.sum(bank(z, indices, training=training) ** 3)

    _, (gradient,) = value_and_gradients(loss, z)
    np.testing.assert_array_equal(gradient, 1)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_call(rng, jit_compile):
    if BACKEND != "tensorflow":
        pytest.skip("needs TensorFlow")
    import tensorflow as tf

    expected, bank = bank_of(), bank_of()
    z, indices = rng.normal(size=(3, 3)).astype("float32"), np.array([4, 0, 4])
    expected(z, indices, training=True)
    step = tf.function(lambda z, i: bank(z, i, training=True), jit_compile=jit_compile)
    step(z, tf.constant(indices))
    np.testing.assert_allclose(held_by(bank), held_by(expected), rtol=1e-5, atol=1e-6)


def test_stateless_call_on_jax(rng):
    if BACKEND != "jax":
        pytest.skip("needs JAX")
    import jax

    expected, bank = bank_of(), bank_of()
    z, indices = rng.normal(size=(3, 3)).astype("float32"), np.array([4, 0, 4])
    before = expected(z, indices, training=True)

    @jax.jit
    def step(variables, z, indices):
        return bank.stateless_call([], variables, z, indices, training=True)

    outputs, (after,) = step([bank.embeddings.value], z, indices)
    np.testing.assert_allclose(outputs, before, rtol=1e-5)
    np.testing.assert_allclose(after, held_by(expected), rtol=1e-5, atol=1e-6)


def test_two_replicas_hold_the_bank_of_one(two_replicas, rng):
    import tensorflow as tf

    one = bank_of()
    with two_replicas.scope():
        two = bank_of()

    @tf.function
    def step(z, indices):
        start = 2 * tf.distribute.get_replica_context().replica_id_in_sync_group
        return two(tf.slice(z, [start, 0], [2, 3]), tf.slice(indices, [start], [2]), training=True)

    local = two_replicas.experimental_local_results
    # the second batch holds an example twice, on two replicas
    for indices in ([3, 0, 5, 1], [6, 2, 4, 6]):
        z = rng.normal(size=(4, 3)).astype("float32")
        expected = one(z, np.array(indices), training=True)
        found = two_replicas.run(step, args=(tf.constant(z), tf.constant(indices)))
        np.testing.assert_allclose(np.concatenate(local(found)), expected, rtol=1e-6)
        for value in local(two.embeddings.value):
            np.testing.assert_allclose(value, held_by(one), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_computes_in_float32_under_mixed_precision(rng, policy, set_dtype_policy):
    set_dtype_policy(policy)
    bank = bank_of(momentum=0.0)
    z = rng.normal(size=(1, 3)).astype("float32")
    held = bank(z, np.array([2]), training=True)
    assert keras.backend.standardize_dtype(held.dtype) == "float32"
    np.testing.assert_allclose(held_by(bank)[2], normalized(z)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 0}, ValueError, "`size` must be a positive integer.*size=0"),
        ({"size": 2.0}, TypeError, "`size` must be a positive integer.*float"),
        ({"size": True}, TypeError, "`size` must be a positive integer"),
        ({"size": 4, "momentum": 1.0}, ValueError, r"`momentum` must be a number in \[0, 1\)"),
        ({"size": 4, "momentum": -0.1}, ValueError, "`momentum`.*momentum=-0.1"),
        ({"size": 4, "momentum": float("nan")}, ValueError, "`momentum`"),
        ({"size": 4, "momentum": "0.5"}, TypeError, "`momentum` must be a number"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        MemoryBank(**arguments)


@pytest.mark.parametrize(
    ("inputs", "indices", "error", "message"),
    [
        (np.ones((2, 5)), np.array([0, 1]), ValueError, r"expected shape=\(None, 3\)"),
        (np.ones((2, 3, 4)), np.array([0, 1]), ValueError, "expected ndim=2, found ndim=3"),
        (np.ones((2, 3)), np.array([0, 1, 2]), ValueError, r"`indices` must hold one.*\(3,\)"),
        (np.ones((2, 3)), np.array([[0], [1]]), ValueError, r"`indices` must hold one.*\(2, 1\)"),
        (np.ones((2, 3)), np.array([0.0, 1.0]), TypeError, "`indices` must hold integers.*float"),
    ],
)
def test_bad_input(inputs, indices, error, message):
    with pytest.raises(error, match=message):
        bank_of()(inputs, indices)


def test_bad_shape():
    with pytest.raises(ValueError, match=r"`inputs` must have shape \(batch, ..., dim\).*\(3,\)"):
        MemoryBank(4).build((3,))


def test_several_embeddings_per_example(rng):
    z = rng.normal(size=(2, 3, 4)).astype("float32")
    bank = MemoryBank(5, momentum=0.25, seed=0)
    start = np.asarray(bank(z, np.array([4, 1]), training=True))
    assert start.shape == (2, 3, 4)
    np.testing.assert_allclose(np.linalg.norm(start, axis=-1), 1, rtol=1e-5)
    moved = 0.25 * start + 0.75 * z / np.linalg.norm(z, axis=-1, keepdims=True)
    moved /= np.linalg.norm(moved, axis=-1, keepdims=True)
    np.testing.assert_allclose(bank.rows(np.array([4, 1])), moved, rtol=1e-4, atol=1e-6)
