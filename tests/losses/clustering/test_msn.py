import json
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from keras_ssl.ops import l2_normalize
from tests.losses.gradients import value_and_gradients

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "clustering.json").read_text())
EMBEDDINGS = np.array(REFERENCE["embeddings"], "float32")
PROTOTYPES = np.array(REFERENCE["prototypes"], "float32")
TARGET, *ANCHORS = EMBEDDINGS[..., :4]


@pytest.mark.parametrize("case", REFERENCE["msn"], ids=lambda case: str(case["temperature"]))
def test_equals_lightly(case):
    loss = losses.MSNLoss(
        case["temperature"], case["sharpening"], case["weight"], case["iterations"]
    )

    def function(target, *anchors):
        target, *anchors = (ops.matmul(l2_normalize(z), PROTOTYPES.T) for z in (target, *anchors))
        return loss(target, anchors)

    # targets have no gradient: zeros in place of TensorFlow's None
    value, gradients = value_and_gradients(
        lambda *x: function(*x) + sum(ops.sum(0 * z) for z in x), *EMBEDDINGS
    )
    np.testing.assert_allclose(value, case["loss"], rtol=1e-5)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=2e-6)


def test_the_regulariser_is_zero_if_all_prototypes_are_used_equally():
    scores = np.eye(4, dtype="float32")
    free, held = (
        float(losses.MSNLoss(regularization_weight=weight)(scores, [scores])) for weight in (0, 5)
    )
    np.testing.assert_allclose(held, free, atol=1e-6)
    # one prototype for all: log K more
    one = scores[[0, 0, 0, 0]] * 10
    free, held = (
        float(losses.MSNLoss(regularization_weight=weight)(one, [one])) for weight in (0, 1)
    )
    np.testing.assert_allclose(held - free, np.log(4), rtol=1e-5)


def test_order_of_anchors_does_not_matter():
    loss = losses.MSNLoss()
    np.testing.assert_allclose(loss(TARGET, ANCHORS), loss(TARGET, ANCHORS[::-1]), rtol=1e-6)
    np.testing.assert_allclose(loss(TARGET, np.stack(ANCHORS)), loss(TARGET, ANCHORS), rtol=1e-6)


def test_sharpening_of_one_keeps_the_target():
    # the cross entropy of a distribution with itself is its entropy
    p = np.exp(TARGET.astype("float64"))
    p /= p.sum(axis=1, keepdims=True)
    values = losses.msn(TARGET, [TARGET], 1.0, 1.0, 0.0)
    np.testing.assert_allclose(values, -np.sum(p * np.log(p), axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("target", "anchors", "error", "message"),
    [
        (TARGET, [], ValueError, "at least two views.*none in `anchor_scores`"),
        (None, ANCHORS, ValueError, "target_scores=None"),
        (TARGET, TARGET, ValueError, r"`anchor_scores` must be a list of views.*\(6, 4\)"),
        (TARGET, [TARGET[:, :3]], ValueError, r"one shape.*\(6, 4\), \(6, 3\)"),
        (TARGET, [TARGET[:5]], ValueError, r"one shape.*\(5, 4\)"),
        (TARGET[:, :1], [TARGET[:, :1]], ValueError, r"at least 2 prototypes.*\(6, 1\)"),
        (TARGET.astype("int32"), ANCHORS, TypeError, "`target_scores`.*int32"),
    ],
)
def test_bad_views(target, anchors, error, message):
    for loss in (losses.MSNLoss(), losses.msn):
        with pytest.raises(error, match=message):
            loss(target, anchors)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"temperature": 0}, ValueError, "`temperature`.*temperature=0"),
        ({"sharpening": 0}, ValueError, "`sharpening`.*sharpening=0"),
        (
            {"sharpening": 1.5},
            ValueError,
            r"`sharpening` must be a positive number of at most 1.*1\.5",
        ),
        ({"regularization_weight": -1}, ValueError, "`regularization_weight`.*-1"),
        ({"regularization_weight": "1"}, TypeError, "`regularization_weight`.*'1'"),
        (
            {"sinkhorn_iterations": -1},
            ValueError,
            "`sinkhorn_iterations` must be an integer of at least 0",
        ),
        ({"sinkhorn_iterations": 1.0}, TypeError, "`sinkhorn_iterations` must be an integer"),
    ],
)
def test_bad_settings(settings, error, message):
    for make in (losses.MSNLoss, lambda **settings: losses.msn(TARGET, ANCHORS, **settings)):
        with pytest.raises(error, match=message):
            make(**settings)
