import numpy as np
import pytest
from keras import ops

from keras_ssl.ops import log_sum_exp_of_queue, log_sum_exp_of_similarities
from keras_ssl.ops.log_sum_exp import QUEUE_CHUNK_SIZE
from tests.losses.gradients import BACKEND, compiled_value_and_gradients, value_and_gradients
from tests.ops.test_log_sum_exp import embeddings, formula, largest_tensor, only_tensorflow

# all keys in one tile, one key per tile, tiles that divide the queue and tiles that do not
sizes = pytest.mark.parametrize("chunk_size", [None, 1, 5, 3])


@sizes
def test_equals_the_formula(rng, chunk_size):
    a, queue, _ = embeddings(rng)
    values = log_sum_exp_of_queue(a, queue, chunk_size)
    assert values.shape == (7,)
    np.testing.assert_allclose(values, formula(a, queue), rtol=1e-6, atol=1e-6)


@pytest.mark.few(4)
@pytest.mark.parametrize("evaluate", [value_and_gradients, compiled_value_and_gradients])
@sizes
def test_gradient_equals_that_of_the_stored_matrix_and_queue_has_none(rng, chunk_size, evaluate):
    a, queue, _ = embeddings(rng)
    weights = rng.normal(size=7).astype("float32")
    _, (expected, _) = value_and_gradients(
        lambda a, c: ops.sum(weights * log_sum_exp_of_similarities(a, c)), a, queue
    )
    value, (gradient, of_queue) = evaluate(
        lambda a, c: ops.sum(weights * log_sum_exp_of_queue(a, c, chunk_size)), a, queue
    )
    np.testing.assert_allclose(value, weights @ formula(a, queue), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    assert not np.any(of_queue)


def test_gradient_equals_finite_differences_of_the_formula(rng):
    a, queue, _ = embeddings(rng, anchors=3, candidates=6, dim=3)
    _, (gradient,) = value_and_gradients(lambda a: ops.sum(log_sum_exp_of_queue(a, queue, 4)), a)
    for index in np.ndindex(*gradient.shape):
        ends = []
        for sign in (1, -1):
            moved = a.astype("float64")
            moved[index] += sign * 1e-6
            ends.append(formula(moved, queue).sum())
        expected = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(gradient[index], expected, rtol=1e-4, atol=1e-5)


@sizes
@pytest.mark.parametrize("scale", [0.0, 1e4, 1e18])
def test_extremes_stay_finite(rng, scale, chunk_size):
    a, queue, _ = (x * np.float32(scale) for x in embeddings(rng))
    value, (gradient,) = value_and_gradients(
        lambda a: ops.sum(log_sum_exp_of_queue(a, queue, chunk_size)), a
    )
    np.testing.assert_allclose(value, formula(a, queue).sum(), rtol=1e-5)
    assert np.all(np.isfinite(gradient))


def test_second_derivatives_are_refused(rng):
    a, queue, _ = embeddings(rng)

    def slope(a):
        if BACKEND == "jax":
            import jax

            return ops.sum(jax.grad(lambda a: ops.sum(log_sum_exp_of_queue(a, queue)))(a) ** 2)
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(a)
            value = log_sum_exp_of_queue(a, queue)
        return ops.sum(ops.square(tape.gradient(value, a)))

    with pytest.raises(NotImplementedError, match="first derivatives"):
        value_and_gradients(slope, a)


@pytest.mark.parametrize("chunk_size", [None, 16])
def test_no_more_than_a_tile_is_stored(rng, chunk_size):
    keys = 3 * QUEUE_CHUNK_SIZE if chunk_size is None else 96
    a, queue, _ = embeddings(rng, anchors=32, candidates=keys, dim=3)
    held = largest_tensor(lambda a: ops.sum(log_sum_exp_of_queue(a, queue, chunk_size)), a)
    assert held <= max(32 * (chunk_size or QUEUE_CHUNK_SIZE), queue.size)


@only_tensorflow
def test_unknown_sizes(rng):
    import tensorflow as tf

    a, queue, _ = embeddings(rng)

    def step(a, queue):
        with tf.GradientTape() as tape:
            tape.watch(a)
            values = log_sum_exp_of_queue(a, queue, 3)
        return values, tape.gradient(values, a)

    signature = [tf.TensorSpec((None, 4)), tf.TensorSpec((None, None))]
    values, gradient = tf.function(step, input_signature=signature)(a, queue)
    expected_values, expected = step(tf.constant(a), tf.constant(queue))
    np.testing.assert_allclose(values, expected_values, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
