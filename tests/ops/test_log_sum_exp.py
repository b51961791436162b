import re
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from keras_ssl.ops import log_sum_exp_of_similarities
from keras_ssl.ops._tiles import fori_loop
from tests.losses.gradients import BACKEND, compiled_value_and_gradients, value_and_gradients

only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")


def formula(anchors, candidates, excluded=None):
    """One anchor at a time, in float64."""
    values = []
    for i, anchor in enumerate(anchors.astype("float64")):
        kept = np.ones(len(candidates), bool)
        if excluded is not None:
            kept[excluded[i]] = False
        logits = candidates[kept].astype("float64") @ anchor
        values.append(logits.max() + np.log(np.sum(np.exp(logits - logits.max()))))
    return np.array(values)


def embeddings(rng, anchors=7, candidates=10, dim=4):
    a = 2 * rng.normal(size=(anchors, dim)).astype("float32")
    c = rng.normal(size=(candidates, dim)).astype("float32")
    excluded = np.stack([rng.permutation(candidates)[:2] for _ in range(anchors)])
    return a, c, excluded


@pytest.mark.few(5)
@pytest.mark.parametrize("with_excluded", [True, False])
@pytest.mark.parametrize("chunk_size", [None, 1, 3, 5, 100])
def test_equals_the_formula(rng, chunk_size, with_excluded):
    a, c, excluded = embeddings(rng)
    excluded = excluded if with_excluded else None
    values = log_sum_exp_of_similarities(a, c, excluded, chunk_size)
    assert values.shape == (7,)
    np.testing.assert_allclose(values, formula(a, c, excluded), rtol=1e-6, atol=1e-6)


@pytest.mark.few(3)
@pytest.mark.parametrize("evaluate", [value_and_gradients, compiled_value_and_gradients])
@pytest.mark.parametrize("chunk_size", [1, 3, 5, 100])
def test_gradients_equal_those_of_the_stored_matrix(rng, chunk_size, evaluate):
    a, c, excluded = embeddings(rng)
    weights = rng.normal(size=7).astype("float32")

    def weighted(chunk_size):
        def function(a, c):
            values = log_sum_exp_of_similarities(a, c, excluded, chunk_size)
            return ops.sum(weights * values)

        return function

    value, gradients = value_and_gradients(weighted(None), a, c)
    tiled, tiled_gradients = evaluate(weighted(chunk_size), a, c)
    np.testing.assert_allclose(tiled, value, rtol=1e-6, atol=1e-6)
    for tiled_gradient, gradient in zip(tiled_gradients, gradients, strict=True):
        np.testing.assert_allclose(tiled_gradient, gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("chunk_size", [3, 5])
def test_gradients_equal_finite_differences_of_the_formula(rng, chunk_size):
    inputs = embeddings(rng, anchors=4, candidates=6, dim=3)
    excluded = inputs[2]
    _, gradients = value_and_gradients(
        lambda a, c: ops.sum(log_sum_exp_of_similarities(a, c, excluded, chunk_size)), *inputs[:2]
    )
    step = 1e-6
    for which, gradient in enumerate(gradients):
        for index in np.ndindex(*gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [x.astype("float64") for x in inputs[:2]]
                moved[which][index] += sign * step
                ends.append(formula(*moved, excluded).sum())
            expected = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(gradient[index], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.few(4)
@pytest.mark.parametrize("chunk_size", [None, 3, 5])
@pytest.mark.parametrize("scale", [0.0, 1e4, 1e18])
def test_extremes_stay_finite(rng, scale, chunk_size):
    a, c, excluded = embeddings(rng)
    a, c = (x * np.float32(scale) for x in (a, c))
    value, gradients = value_and_gradients(
        lambda a, c: ops.sum(log_sum_exp_of_similarities(a, c, excluded, chunk_size)), a, c
    )
    np.testing.assert_allclose(value, formula(a, c, excluded).sum(), rtol=1e-5)
    assert all(np.all(np.isfinite(g)) for g in gradients)


@pytest.mark.parametrize("chunk_size", [None, 1, 2])
def test_all_candidates_excluded(chunk_size):
    a, c = np.ones((1, 4), "float32"), np.ones((2, 4), "float32")

    def not_picked(a, c):
        return ops.sum(ops.softplus(log_sum_exp_of_similarities(a, c, [[0, 1]], chunk_size)))

    value, gradients = value_and_gradients(not_picked, a, c)
    assert value == 0
    assert not any(np.any(g) for g in gradients)


def test_second_derivatives_are_refused(rng):
    a, c, _ = embeddings(rng)

    def slope(chunk_size):
        def function(a):
            return ops.sum(log_sum_exp_of_similarities(a, c, None, chunk_size))

        if BACKEND == "tensorflow":
            import tensorflow as tf

            def gradient(a):
                with tf.GradientTape() as tape:
                    tape.watch(a)
                    value = function(a)
                return ops.sum(ops.square(tape.gradient(value, a)))

            return gradient
        import jax

        return lambda a: ops.sum(ops.square(jax.grad(function)(a)))

    value_and_gradients(slope(None), a)
    with pytest.raises(NotImplementedError, match="chunk_size=None"):
        value_and_gradients(slope(3), a)


def largest_tensor(function, *inputs):
    """Elements of the largest tensor in the program of a value and gradient, loops included."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def step(*inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                value = function(*inputs)
            return value, tape.gradient(value, inputs)

        compiled = tf.function(step, jit_compile=True)
        text = compiled.experimental_get_compiler_ir(*map(tf.constant, inputs))(stage="hlo")
        shapes = re.findall(r"\w+\[([\d,]+)\]", text)
    else:
        import jax

        gradient = jax.value_and_grad(function, argnums=tuple(range(len(inputs))))
        text = jax.jit(gradient).lower(*inputs).as_text()
        shapes = [s.replace("x", ",") for s in re.findall(r"tensor<((?:\d+x)+)\w", text)]
    return max(np.prod([int(n) for n in shape.split(",") if n]) for shape in shapes)


@pytest.mark.parametrize("chunk_size", [16, 25])
def test_the_whole_matrix_is_never_stored(rng, chunk_size):
    # 96 embeddings and two exclusions each; 100 where they are padded, and another column
    a, c, excluded = embeddings(rng, anchors=96, candidates=96)

    def function(chunk_size):
        return lambda a, c: ops.sum(log_sum_exp_of_similarities(a, c, excluded, chunk_size))

    assert largest_tensor(function(None), a, c) >= 96 * 96
    assert largest_tensor(function(chunk_size), a, c) <= max(chunk_size**2, 100 * 5)


@only_tensorflow
def test_the_eager_tape_keeps_no_tiles(rng):
    import tensorflow as tf

    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("reads this process' memory where Linux has it")

    def held():
        return int(statm.read_text().split()[1]) * 4096 / 2**20

    z = tf.constant(rng.normal(size=(4096, 4)).astype("float32"))
    log_sum_exp_of_similarities(z, z, None, 1024)
    before = held()
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = ops.sum(log_sum_exp_of_similarities(z, z, None, 1024))
    # 16 tiles of 4 MiB, and as many of each step of theirs, would be 256 MiB
    assert held() - before < 100
    assert tape.gradient(value, z) is not None


@only_tensorflow
def test_loops_process_one_tile_at_a_time(rng):
    import tensorflow as tf

    _, _, excluded = embeddings(rng)
    traced = tf.function(lambda a, c: log_sum_exp_of_similarities(a, c, excluded, 3))
    graph = traced.get_concrete_function(tf.TensorSpec((7, 4)), tf.TensorSpec((10, 4))).graph
    loops = [op for op in graph.get_operations() if op.type in ("While", "StatelessWhile")]
    assert len(loops) == 1
    assert loops[0].get_attr("parallel_iterations") == 1


@only_tensorflow
@pytest.mark.parametrize("chunk_size", [3, 100])
def test_unknown_sizes(rng, chunk_size):
    import tensorflow as tf

    a, c, excluded = embeddings(rng)

    def step(a, c, excluded):
        with tf.GradientTape() as tape:
            tape.watch([a, c])
            values = log_sum_exp_of_similarities(a, c, excluded, chunk_size)
        return values, tape.gradient(values, [a, c])

    signature = [
        tf.TensorSpec((None, 4)),
        tf.TensorSpec((None, None)),
        tf.TensorSpec((None, 2), "int32"),
    ]
    traced = tf.function(step, input_signature=signature)
    values, gradients = traced(a, c, excluded.astype("int32"))
    np.testing.assert_allclose(values, formula(a, c, excluded), rtol=1e-6, atol=1e-6)
    _, expected = step(*map(tf.constant, (a, c, excluded)))
    for gradient, known in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, known, rtol=1e-6, atol=1e-6)


def test_loop_equals_keras_fori_loop():
    def body(step, carry):
        total, product = carry
        return total + step, product * 2

    carry = (ops.convert_to_tensor(0, "int32"), ops.convert_to_tensor(1.0))
    for result in (fori_loop(5, body, carry), ops.fori_loop(0, 5, body, carry)):
        assert [float(x) for x in result] == [10, 32]
