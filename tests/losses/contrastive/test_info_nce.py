import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.gradients import (
    BACKEND,
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "info_nce.json").read_text())
# None stores all similarities; 3 divides no batch of these tests. JAX compiles each loop anew, for
# a second; its tiles are tested in test_log_sum_exp.py and test_nt_xent.py.
chunked = pytest.mark.parametrize("chunk_size", [None, 3] if BACKEND == "tensorflow" else [None])
queued = pytest.mark.parametrize("with_queue", [False, True], ids=["in-batch", "queue"])


def formula(query, key, negatives=None, temperature=0.1):
    """The loss of every query, one at a time, in float64."""
    query, key, negatives = (
        x if x is None else x.astype("float64") / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (query, key, negatives)
    )
    values = []
    for i in range(len(query)):
        others = np.delete(key, i, axis=0) if negatives is None else negatives
        positive = query[i] @ key[i] / temperature
        total = np.exp(positive) + np.sum(np.exp(others @ query[i] / temperature))
        values.append(np.log(total) - positive)
    return np.array(values)


def keys(rng, with_queue, examples=8, dim=5):
    query = rng.normal(size=(examples, dim)).astype("float32")
    key = (0.5 * query + rng.normal(size=(examples, dim))).astype("float32")
    return (query, key, rng.normal(size=(10, dim)).astype("float32"))[: 2 + with_queue]


def loss_of(chunk_size, **settings):
    """The loss as a function of query, key and maybe negatives."""
    loss = losses.InfoNCE(chunk_size=chunk_size, **settings)
    return lambda q, k, n=None: loss(q, k, negatives=n)


@queued
@pytest.mark.parametrize("temperature", [0.05, 1.0])
@chunked
def test_equals_the_formula(rng, chunk_size, temperature, with_queue):
    inputs = keys(rng, with_queue)
    expected = formula(*inputs, temperature=temperature)
    values = losses.info_nce(*inputs, temperature=temperature, chunk_size=chunk_size)
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=3e-7 / temperature)
    value = loss_of(chunk_size, temperature=temperature)(*inputs)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-6, atol=1e-7 / temperature)


@chunked
def test_hard_negatives_join_the_other_keys(rng, chunk_size):
    query, key, hard = keys(rng, with_queue=True)
    expected = [
        formula(query[i : i + 1], key[i : i + 1], np.concatenate([np.delete(key, i, axis=0), hard]))
        for i in range(len(query))
    ]
    values = losses.info_nce(query, key, hard_negatives=hard, chunk_size=chunk_size)
    np.testing.assert_allclose(values, np.concatenate(expected), rtol=1e-6, atol=3e-6)
    with pytest.raises(ValueError, match="Received: negatives and hard_negatives"):
        losses.info_nce(query, key, hard, hard_negatives=hard)
    # a single example has them for negatives
    assert losses.InfoNCE()(query[:1], key[:1], hard_negatives=hard) > 0


def with_queue_of(queue, **settings):
    """The loss as a function of query and key, against a queue."""
    loss = losses.InfoNCE(**settings)
    return lambda query, key: loss(query, key, queue=queue)


@chunked
@pytest.mark.parametrize("temperature", [1e-6, 0.05, 1.0])
def test_queue_equals_normalised_negatives_without_gradient(rng, temperature, chunk_size):
    query, key, negatives = keys(rng, with_queue=True)
    queue = negatives / np.linalg.norm(negatives, axis=1, keepdims=True)
    settings = {"temperature": temperature, "chunk_size": chunk_size}
    value, gradients = value_and_gradients(with_queue_of(queue, **settings), query, key)
    expected, expected_gradients = value_and_gradients(
        lambda q, k: losses.InfoNCE(**settings)(q, k, negatives=negatives), query, key
    )
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    for gradient, one in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, one, rtol=1e-4, atol=1e-6 / temperature)
    _, (of_queue,) = value_and_gradients(
        lambda n: losses.InfoNCE(**settings)(query, key, queue=n), queue
    )
    assert not np.any(of_queue)


def test_queue_with_learned_temperature_half_precision_and_compiled(rng):
    query, key, negatives = keys(rng, with_queue=True)
    queue = negatives / np.linalg.norm(negatives, axis=1, keepdims=True)

    def function(temperature):
        return ops.mean(losses.info_nce(query, key, queue=queue, temperature=temperature))

    value, (slope,) = value_and_gradients(function, np.float32(0.5))
    ends = [formula(query, key, queue, 0.5 + sign * 1e-6).mean() for sign in (1, -1)]
    np.testing.assert_allclose(value, formula(query, key, queue, 0.5).mean(), rtol=1e-6)
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-4)
    half = [ops.cast(x * 1e4, "float16") for x in (query, key)]
    wide = [ops.convert_to_numpy(ops.cast(x, "float32")) for x in half]
    value = with_queue_of(queue)(*half)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(*wide, queue).mean(), rtol=1e-5)
    value, gradients = value_and_gradients(with_queue_of(queue), query, key)
    jit_value, jit_gradients = compiled_value_and_gradients(with_queue_of(queue), query, key)
    np.testing.assert_allclose(jit_value, value, rtol=1e-6)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-4, atol=1e-6)


def test_two_replicas_with_a_queue_equal_one(rng, two_replicas):
    query, key, queue = keys(rng, with_queue=True)
    function = with_queue_of(queue / np.linalg.norm(queue, axis=1, keepdims=True))
    value, gradients = value_and_gradients(function, query, key)
    values, whole = replica_values_and_gradients(two_replicas, function, query, key)
    np.testing.assert_allclose(sum(values), value, rtol=1e-6)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_queue_and_negatives_are_exclusive():
    with pytest.raises(ValueError, match=r"`negatives` or `queue`.*negatives and queue"):
        losses.InfoNCE()(GOOD, GOOD, negatives=GOOD, queue=GOOD)
    with pytest.raises(ValueError, match=r"`queue` must have shape.*3\).*\(4, 2\)"):
        losses.InfoNCE()(GOOD, GOOD, queue=GOOD[:, :2])
    with pytest.raises(TypeError, match="dtype of `queue` must be floating-point"):
        losses.info_nce(GOOD, GOOD, queue=GOOD.astype("int32"))


@chunked
@pytest.mark.parametrize("kind", ["queue", "in_batch"])  # by Lightly, by PyTorch
@pytest.mark.parametrize("case", REFERENCE["results"], ids=lambda case: str(case["temperature"]))
def test_equals_the_reference(case, kind, chunk_size):
    query, key, negatives = (
        np.array(REFERENCE[name], "float32") for name in ("query", "key", "negatives")
    )
    loss = losses.InfoNCE(case["temperature"], chunk_size)
    given = negatives if kind == "queue" else None
    value, gradients = value_and_gradients(lambda q, k: loss(q, k, negatives=given), query, key)
    np.testing.assert_allclose(value, case[kind]["loss"], rtol=2e-6)
    for gradient, expected in zip(gradients, case[kind]["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=2e-6)


@queued
@chunked
def test_gradient_equals_finite_differences_of_the_formula(rng, chunk_size, with_queue):
    inputs = keys(rng, with_queue, examples=4, dim=3)
    _, gradients = value_and_gradients(loss_of(chunk_size), *inputs)
    step = 1e-6
    for which, gradient in enumerate(gradients):
        for index in np.ndindex(*gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [x.astype("float64") for x in inputs]
                moved[which][index] += sign * step
                ends.append(formula(*moved).mean())
            expected = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(gradient[index], expected, rtol=1e-4, atol=2e-6)


@chunked
def test_temperature_may_be_learned(rng, chunk_size):
    inputs = keys(rng, with_queue=False)

    def function(temperature):
        return ops.mean(losses.info_nce(*inputs, None, temperature, chunk_size))

    value, (slope,) = value_and_gradients(function, np.float32(0.5))
    np.testing.assert_allclose(value, formula(*inputs, temperature=0.5).mean(), rtol=1e-6)
    ends = [formula(*inputs, temperature=t).mean() for t in (0.5 + 1e-6, 0.5 - 1e-6)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-4)
    np.testing.assert_allclose(function(keras.Variable(0.5)), value, rtol=1e-6)


@chunked
def test_order_does_not_matter(rng, chunk_size):
    query, key, queue = keys(rng, with_queue=True)
    order, other_order = rng.permutation(8), rng.permutation(10)
    for negatives, permuted in ((None, None), (queue, queue[other_order])):
        loss = loss_of(chunk_size, reduction=None)
        values = ops.convert_to_numpy(loss(query, key, negatives))
        moved = ops.convert_to_numpy(loss(query[order], key[order], permuted))
        np.testing.assert_allclose(moved, values[order], rtol=1e-5, atol=1e-6)
        # other positives
        assert abs(float(ops.mean(loss(query[order], key, permuted))) - values.mean()) > 0.1


@queued
@chunked
@pytest.mark.parametrize("fill", [0.0, -3e38])
def test_extreme_values_stay_finite(rng, fill, chunk_size, with_queue):
    inputs = keys(rng, with_queue)
    for x in inputs:
        x[0] = fill
    value, gradients = value_and_gradients(loss_of(chunk_size), *inputs)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(g)) for g in gradients)
    zeros = [np.zeros_like(x) for x in inputs]
    value, gradients = value_and_gradients(loss_of(chunk_size), *zeros)
    np.testing.assert_allclose(value, np.log(11 if with_queue else 8), rtol=1e-6)
    assert not any(np.any(g) for g in gradients)


@queued
@chunked
def test_extreme_temperatures_stay_finite(rng, chunk_size, with_queue):
    inputs = keys(rng, with_queue)
    for temperature in (1e-6, 1e6):
        value, gradients = value_and_gradients(
            loss_of(chunk_size, temperature=temperature), *inputs
        )
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(g)) for g in gradients)


@queued
@chunked
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, dtype, chunk_size, with_queue):
    inputs = [ops.cast(x * 1e4, dtype) for x in keys(rng, with_queue)]  # squares overflow float16
    wide = [ops.convert_to_numpy(ops.cast(x, "float32")) for x in inputs]
    value = loss_of(chunk_size)(*inputs)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(*wide).mean(), rtol=1e-5)
    values = losses.info_nce(*inputs, chunk_size=chunk_size)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"


@queued
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_compiled_equals_uncompiled(rng, chunk_size, with_queue):
    inputs = keys(rng, with_queue)
    value, gradients = value_and_gradients(loss_of(chunk_size), *inputs)
    jit_value, jit_gradients = compiled_value_and_gradients(loss_of(chunk_size), *inputs)
    np.testing.assert_allclose(jit_value, value, rtol=1e-6)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-4, atol=1e-6)


@queued
@chunked
def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas, chunk_size, with_queue):
    query, key, *queue = keys(rng, with_queue)
    loss = loss_of(chunk_size)

    def function(query, key):
        return loss(query, key, *queue)

    value, gradients = value_and_gradients(function, query, key)
    values, whole = replica_values_and_gradients(two_replicas, function, query, key)
    np.testing.assert_allclose(sum(values), value, rtol=1e-6)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_config_round_trip(rng):
    loss = losses.InfoNCE(temperature=0.3, chunk_size=3, reduction="sum", name="contrastive")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, losses.InfoNCE)
    assert copy.get_config() == loss.get_config()
    inputs = keys(rng, with_queue=False)
    np.testing.assert_allclose(copy(*inputs), loss(*inputs))


def test_sample_weight(rng):
    inputs = keys(rng, with_queue=True)
    weights = rng.uniform(size=8).astype("float32")
    loss = losses.InfoNCE()(*inputs[:2], sample_weight=weights, negatives=inputs[2])
    np.testing.assert_allclose(loss, (weights * formula(*inputs)).mean(), rtol=1e-5)


GOOD = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ((GOOD, None), ValueError, "`query` and `key`.*key=None"),
        ((GOOD[0], GOOD), ValueError, r"`query` must have rank 2.*\(3,\)"),
        ((GOOD, GOOD[:3]), ValueError, r"`query` and `key`.*same shape"),
        ((GOOD[:1], GOOD[:1]), ValueError, "needs negatives: `query`"),
        ((GOOD, GOOD.astype("int32")), TypeError, "dtype of `key` must be floating-point"),
        ((GOOD, GOOD, GOOD[0]), ValueError, "`negatives` must have rank 2"),
        ((GOOD, GOOD, GOOD[:, :2]), ValueError, r"`negatives` must have shape.*3\).*\(4, 2\)"),
        ((GOOD, GOOD, GOOD[:0]), ValueError, r"`negatives` must have shape.*\(0, 3\)"),
        (
            (GOOD, GOOD, GOOD.astype("int32")),
            TypeError,
            "`negatives` must be floating-point",
        ),
    ],
)
@pytest.mark.parametrize("loss", [loss_of(None), losses.info_nce], ids=["class", "function"])
def test_bad_embeddings(loss, inputs, error, message):
    with pytest.raises(error, match=message):
        loss(*inputs)


def test_bad_temperature_and_chunk_size():
    with pytest.raises(ValueError, match=r"`temperature`.*0"):
        losses.info_nce(GOOD, GOOD, temperature=0)
    with pytest.raises(ValueError, match=r"`temperature` must be a scalar.*\(2,\)"):
        losses.info_nce(GOOD, GOOD, temperature=ops.ones((2,)))
    with pytest.raises(TypeError, match=r"`temperature` must be floating-point.*int32"):
        losses.info_nce(GOOD, GOOD, temperature=ops.convert_to_tensor(1, "int32"))
    with pytest.raises(TypeError, match="`temperature`"):
        losses.InfoNCE(temperature="0.1")
    for loss in (
        losses.InfoNCE,
        lambda chunk_size: losses.info_nce(GOOD, GOOD, None, 1, chunk_size),
    ):
        with pytest.raises(ValueError, match="`chunk_size` must be a positive integer"):
            loss(chunk_size=0)
        with pytest.raises(TypeError, match="`chunk_size` must be a positive integer"):
            loss(chunk_size=True)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
@queued
@chunked
def test_unknown_batch_size(rng, chunk_size, with_queue):
    import tensorflow as tf

    inputs = keys(rng, with_queue)
    signature = [tf.TensorSpec((None, 5))] * len(inputs)
    traced = tf.function(loss_of(chunk_size), input_signature=signature)
    np.testing.assert_allclose(traced(*inputs), formula(*inputs).mean(), rtol=1e-5)
