import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses import view_formulas as formulas
from tests.losses.gradients import value_and_gradients

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "clustering.json").read_text())
BACKEND = keras.backend.backend()


def scores(rng, examples=12, prototypes=4):
    return np.tanh(rng.normal(size=(examples, prototypes))).astype("float32")


@pytest.mark.parametrize("epsilon", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("iterations", [1, 3, 20])
@pytest.mark.parametrize("with_queue", [False, True])
def test_equals_the_formula(rng, epsilon, iterations, with_queue):
    x, queue = scores(rng), scores(rng, 7) if with_queue else None
    codes = losses.sinkhorn_knopp(x, epsilon, iterations, queue)
    expected = formulas.sinkhorn_knopp(x, epsilon, iterations, queue)
    np.testing.assert_allclose(codes, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("case", REFERENCE["codes"], ids=lambda case: str(case["epsilon"]))
def test_equals_lightly(case):
    view, queue = (np.array(REFERENCE[name][0], "float32") for name in ("views", "queues"))
    settings = (case["epsilon"], case["iterations"])
    np.testing.assert_allclose(
        losses.sinkhorn_knopp(view, *settings), case["codes"], rtol=2e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        losses.sinkhorn_knopp(view, *settings, queue), case["with_queue"], rtol=2e-5, atol=1e-7
    )


def test_rows_sum_to_one_and_columns_are_nearly_uniform(rng):
    x = scores(rng, 60, 5) + np.array([2, 0, 0, 0, 0], "float32")  # all prefer the first
    assert np.argmax(x, axis=1).tolist().count(0) == 60
    for iterations, rtol in ((3, 0.35), (100, 1e-2)):
        codes = ops.convert_to_numpy(losses.sinkhorn_knopp(x, 0.1, iterations))
        assert np.min(codes) >= 0
        np.testing.assert_allclose(codes.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(codes.sum(axis=0), 12, rtol=rtol)


def test_limits_of_epsilon(rng):
    x = scores(rng, 8, 4)
    # no information left
    np.testing.assert_allclose(losses.sinkhorn_knopp(x, 1e6), 0.25, rtol=1e-3)
    # an assignment: each prototype twice, and no other assignment has a higher score
    codes = ops.convert_to_numpy(losses.sinkhorn_knopp(x, 0.002, 2000))
    np.testing.assert_allclose(np.sort(codes, axis=1)[:, -1], 1, atol=1e-2)
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-np.repeat(x, 2, axis=1))
    np.testing.assert_array_equal(np.argmax(codes, axis=1)[rows], columns // 2)


def test_invariances(rng):
    x = scores(rng)
    codes = ops.convert_to_numpy(losses.sinkhorn_knopp(x))
    # a constant for a prototype, which the first normalisation takes away
    shift = np.array([1, 0, -0.5, 0.25], "float32")
    np.testing.assert_allclose(losses.sinkhorn_knopp(x + shift), codes, rtol=1e-3, atol=1e-5)
    order, other = rng.permutation(12), rng.permutation(4)
    moved = losses.sinkhorn_knopp(x[order][:, other])
    np.testing.assert_allclose(moved, codes[order][:, other], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [0, 1e-30, 1e4, 1e30])
def test_extreme_scores_stay_finite(rng, scale):
    codes = ops.convert_to_numpy(losses.sinkhorn_knopp(scores(rng) * np.float32(scale)))
    assert np.all(np.isfinite(codes))
    np.testing.assert_allclose(codes.sum(axis=1), 1, rtol=1e-5)
    if scale < 1:
        np.testing.assert_allclose(codes, 0.25, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, dtype):
    x = ops.cast(scores(rng), dtype)
    codes = losses.sinkhorn_knopp(x)
    assert keras.backend.standardize_dtype(codes.dtype) == "float32"
    expected = formulas.sinkhorn_knopp(ops.convert_to_numpy(ops.cast(x, "float32")))
    np.testing.assert_allclose(codes, expected, rtol=1e-4, atol=1e-6)


def test_has_no_gradient(rng):
    def function(x):
        return ops.sum(x * losses.sinkhorn_knopp(x))

    x = scores(rng)
    _, (gradient,) = value_and_gradients(function, x)
    np.testing.assert_array_equal(gradient, ops.convert_to_numpy(losses.sinkhorn_knopp(x)))


@pytest.mark.parametrize("with_queue", [False, True])
def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas, with_queue):
    import tensorflow as tf

    x, queue = scores(rng), scores(rng, 7) if with_queue else None
    part = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(x[6 * context.replica_id_in_sync_group :][:6])
    )
    step = tf.function(
        lambda part: two_replicas.run(
            lambda x: losses.sinkhorn_knopp(x, queue_scores=queue), args=(part,)
        )
    )
    both = np.concatenate(two_replicas.experimental_local_results(step(part)))
    expected = ops.convert_to_numpy(losses.sinkhorn_knopp(x, queue_scores=queue))
    np.testing.assert_allclose(both, expected, rtol=1e-5, atol=1e-7)
    alone = losses.sinkhorn_knopp(x[:6], queue_scores=queue)
    assert np.max(np.abs(alone - expected[:6])) > 0.05  # codes of half a batch are others


GOOD = np.zeros((4, 3), "float32")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scores": None}, ValueError, "`scores`.*scores=None"),
        ({"scores": GOOD[0]}, ValueError, r"`scores` must have rank 2.*\(3,\)"),
        ({"scores": GOOD[:, :1]}, ValueError, r"at least 2 prototypes.*\(4, 1\)"),
        (
            {"scores": GOOD.astype("int32")},
            TypeError,
            "dtype of `scores` must be floating-point.*int32",
        ),
        ({"epsilon": 0}, ValueError, "`epsilon`.*epsilon=0"),
        ({"epsilon": float("nan")}, ValueError, "`epsilon`.*epsilon=nan"),
        ({"epsilon": "small"}, TypeError, "`epsilon`.*'small'"),
        ({"iterations": 0}, ValueError, "`iterations` must be a positive integer.*iterations=0"),
        ({"iterations": 2.0}, TypeError, r"`iterations` must be a positive integer.*2\.0"),
        ({"queue_scores": GOOD[:, :2]}, ValueError, r"the 3 prototypes.*\(4, 2\)"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        losses.sinkhorn_knopp(**{"scores": GOOD, **arguments})
