import json
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ssl import losses
from tests.losses import formulas, view_formulas
from tests.losses.gradients import replica_values_and_gradients, value_and_gradients

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "newest_losses.json").read_text())


def scores(rng, examples=6):
    target, *anchors = rng.uniform(-1, 1, size=(3, examples, 5)).astype("float32")
    return target, anchors


@pytest.mark.parametrize("case", REFERENCE["pmsn"], ids=lambda case: str(case["exponent"]))
def test_equals_lightly(case):
    target, *anchors = (np.array(x, "float32") for x in (case["target"], *case["anchors"]))
    loss = losses.PMSNLoss(exponent=case["exponent"], sinkhorn_iterations=case["iterations"])
    np.testing.assert_allclose(loss(target, anchors), case["loss"], rtol=1e-5)


@pytest.mark.parametrize("exponent", [0.25, 2.0])
def test_value_and_gradient_equal_the_formula(rng, exponent):
    target, anchors = scores(rng)
    loss = losses.PMSNLoss(regularization_weight=3.0, exponent=exponent)

    def formula(*anchors):
        return view_formulas.pmsn(target, anchors, weight=3.0, exponent=exponent).mean()

    value, gradients = value_and_gradients(lambda *a: loss(target, list(a)), *anchors)
    np.testing.assert_allclose(value, formula(*anchors), rtol=1e-5)
    expected = formulas.finite_differences(formula, *anchors)
    for gradient, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-3, atol=1e-5)


def test_the_regulariser_is_zero_where_sizes_follow_the_power_law():
    prior = np.arange(1, 5) ** -1.0
    prior /= prior.sum()
    rows = np.repeat(np.log(prior)[None], 6, axis=0).astype("float32")
    free, held = (
        float(losses.PMSNLoss(1.0, regularization_weight=w, exponent=1.0)(rows, [rows]))
        for w in (0, 5)
    )
    np.testing.assert_allclose(held, free, atol=1e-5)
    # the same sizes in another order are not those of the prior
    other = float(losses.PMSNLoss(1.0, exponent=1.0)(rows[:, ::-1], [rows[:, ::-1]]))
    assert other > free + 0.1


def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas):
    target, anchors = scores(rng)
    loss = losses.PMSNLoss(exponent=1.0)

    def function(target, *anchors):
        # targets have no gradient: zeros in place of TensorFlow's None
        return loss(target, list(anchors)) + 0 * keras.ops.sum(target)

    value, gradients = value_and_gradients(function, target, *anchors)
    values, whole = replica_values_and_gradients(two_replicas, function, target, *anchors)
    np.testing.assert_allclose(sum(values), value, rtol=1e-5)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_assignments_of_zero_stay_finite():
    one = 100 * np.eye(5, dtype="float32")[[0, 0, 0]]  # one prototype for all examples
    value, gradients = value_and_gradients(lambda a: losses.PMSNLoss()(one, [a]), one)
    assert np.isfinite(value) and np.all(np.isfinite(gradients[0]))


def test_config_round_trip():
    loss = losses.PMSNLoss(0.2, 0.5, 2.0, 3, 0.7, reduction="sum", name="prior")
    copy = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert type(copy) is losses.PMSNLoss and copy.get_config() == loss.get_config()


def test_bad_exponent(rng):
    with pytest.raises(ValueError, match="`exponent` must be a number of at least 0"):
        losses.PMSNLoss(exponent=-1)
    with pytest.raises(TypeError, match="`exponent` must be a number"):
        losses.pmsn(*scores(rng), exponent="1")
