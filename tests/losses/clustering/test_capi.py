"""CAPI: equal to Lightly's, balance by position, replicas, errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from keras_ssl import losses
from tests.losses.gradients import BACKEND, value_and_gradients

REFERENCE = Path(__file__).parents[2] / "reference" / "local_losses.json"


@pytest.mark.parametrize("number", [0, 1])
def test_assignments_loss_and_gradient_equal_those_of_lightly(number):
    stored = json.loads(REFERENCE.read_text())["capi"]
    case = stored["cases"][number]
    teacher, student = (np.asarray(stored[name], "float32") for name in ("teacher", "student"))
    loss = losses.CAPILoss(**case["arguments"])
    assignments = loss.assign(teacher)
    np.testing.assert_allclose(assignments, case["assignments"], atol=1e-5)
    value, (gradient,) = value_and_gradients(lambda s: loss(assignments, s), student)
    np.testing.assert_allclose(value, case["loss"], rtol=1e-5)
    np.testing.assert_allclose(gradient, case["gradient"], atol=1e-5)


def test_each_position_is_balanced_as_by_sinkhorn_knopp(rng):
    scores = rng.normal(size=(6, 3, 4)).astype("float32")
    found = np.asarray(losses.positionwise_sinkhorn_knopp(scores, epsilon=0.5, iterations=5))
    for position in range(3):
        expected = losses.sinkhorn_knopp(scores[:, position], epsilon=0.5, iterations=5)
        np.testing.assert_allclose(found[:, position], expected, rtol=1e-5)
    # all clusters are used at each position, also where scores say that positions are clusters
    scores += 10 * np.eye(3, 4, dtype="float32")
    found = np.asarray(losses.positionwise_sinkhorn_knopp(scores, iterations=50))
    np.testing.assert_allclose(found.sum(axis=0), 6 / 4, rtol=0.05)


def test_no_gradient_flows_to_assignments(rng):
    scores = rng.normal(size=(4, 3, 5)).astype("float32")
    loss = losses.CAPILoss()

    def function(teacher, student):
        return loss(loss.assign(teacher), student)

    _, (of_teacher, of_student) = value_and_gradients(function, scores, scores + 1)
    assert of_teacher is None or not np.any(of_teacher)
    assert np.any(of_student)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs tf.distribute")
def test_replicas_balance_the_global_batch(rng, two_replicas):
    import tensorflow as tf

    scores = rng.normal(size=(6, 3, 4)).astype("float32")
    expected = losses.positionwise_sinkhorn_knopp(scores)

    def step():
        start = 3 * tf.distribute.get_replica_context().replica_id_in_sync_group
        return losses.positionwise_sinkhorn_knopp(tf.slice(scores, [start, 0, 0], [3, 3, 4]))

    found = tf.function(lambda: two_replicas.run(step))()
    rows = two_replicas.experimental_local_results(found)
    np.testing.assert_allclose(np.concatenate(rows), expected, rtol=1e-5)


def test_config_makes_an_equal_loss():
    loss = losses.CAPILoss(0.1, 0.2, 5, name="patches")
    assert losses.CAPILoss.from_config(loss.get_config()).get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("shapes", "dtype", "error", "message"),
    [
        ([(4, 3, 5), (4, 2, 5)], "float32", ValueError, "must have one shape"),
        ([(4, 5), (4, 5)], "float32", ValueError, r"assignments.shape=\(4, 5\)"),
        ([(4, 3, 1), (4, 3, 1)], "float32", ValueError, "at least 2 clusters"),
        ([(4, 3, 5), (4, 3, 5)], "int32", TypeError, "dtype of `assignments`"),
    ],
)
def test_invalid_inputs_are_rejected(shapes, dtype, error, message):
    inputs = [np.ones(shape, dtype) for shape in shapes]
    for function in (losses.capi, losses.CAPILoss()):
        with pytest.raises(error, match=message):
            function(*inputs)


def test_invalid_arguments_are_rejected():
    scores = np.ones((4, 3, 5), "float32")
    for arguments in ({"epsilon": 0.0}, {"iterations": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}=0"):
            losses.positionwise_sinkhorn_knopp(scores, **arguments)
    with pytest.raises(ValueError, match="temperature=-1"):
        losses.capi(scores, scores, temperature=-1)
    for name in ("teacher_temperature", "student_temperature", "iterations"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            losses.CAPILoss(**{name: 0})
    with pytest.raises(ValueError, match=r"`scores` must have shape.*\(4, 3\)"):
        losses.CAPILoss().assign(scores[..., 0])
