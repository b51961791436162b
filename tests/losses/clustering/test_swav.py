import json
from pathlib import Path

import numpy as np
import pytest

from keras_ssl import losses
from tests.losses.gradients import value_and_gradients

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "clustering.json").read_text())
VIEWS = np.array(REFERENCE["views"], "float32")
QUEUES = np.array(REFERENCE["queues"], "float32")


@pytest.mark.parametrize(
    "case", REFERENCE["swav"], ids=lambda case: f"{case['epsilon']}-{case['queue']}"
)
def test_equals_lightly(case):
    loss = losses.SwAVLoss(case["temperature"], case["epsilon"], case["iterations"])
    queue = QUEUES if case["queue"] else ()
    value, gradients = value_and_gradients(
        lambda *x: loss(list(x[:2]), list(x[2:]), queue_scores=queue), *VIEWS
    )
    np.testing.assert_allclose(value, case["loss"], rtol=1e-6)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_a_tensor_of_views_equals_a_list():
    loss = losses.SwAVLoss()
    expected = loss(list(VIEWS[:2]), list(VIEWS[2:]))
    np.testing.assert_allclose(loss(VIEWS[:2], VIEWS[2:]), expected, rtol=1e-6)
    np.testing.assert_allclose(np.mean(losses.swav(VIEWS[:2], VIEWS[2:])), expected, rtol=1e-6)


def test_swapped_global_views_have_the_same_loss():
    loss = losses.SwAVLoss()
    np.testing.assert_allclose(loss(VIEWS[1::-1], VIEWS[2:]), loss(VIEWS[:2], VIEWS[2:]), rtol=1e-6)
    np.testing.assert_allclose(loss(VIEWS[:2], VIEWS[:1:-1]), loss(VIEWS[:2], VIEWS[2:]), rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (([], VIEWS), ValueError, "at least two views.*0 in `global_scores`"),
        ((VIEWS[:1],), ValueError, "at least two views.*1 in `global_scores`, 0 in `local"),
        ((VIEWS[0], VIEWS[1]), ValueError, r"`global_scores` must be a list of views.*\(6, 4\)"),
        ((None,), ValueError, "`global_scores` must be a list.*NoneType"),
        (([VIEWS[0], None],), ValueError, r"global_scores\[1\]=None"),
        (([VIEWS[0], VIEWS[1, :, :3]],), ValueError, r"one shape.*\(6, 4\), \(6, 3\)"),
        ((VIEWS[:2], [VIEWS[2, :5]]), ValueError, r"one shape.*\(5, 4\)"),
        ((VIEWS[..., :1],), ValueError, r"at least 2 prototypes.*\(6, 1\)"),
        ((VIEWS.astype("int32"),), TypeError, r"`global_scores\[0\]`.*int32"),
    ],
)
def test_bad_views(inputs, error, message):
    for loss in (losses.SwAVLoss(), losses.swav):
        with pytest.raises(error, match=message):
            loss(*inputs)


def test_bad_queue_and_settings():
    with pytest.raises(ValueError, match=r"one queue for each of the 2 global views.*1"):
        losses.SwAVLoss()(VIEWS[:2], queue_scores=QUEUES[:1])
    with pytest.raises(ValueError, match=r"`queue_scores\[0\]`.*4 prototypes.*\(5, 3\)"):
        losses.SwAVLoss()(VIEWS[:2], queue_scores=QUEUES[..., :3])
    for make in (losses.SwAVLoss, lambda **settings: losses.swav(VIEWS, **settings)):
        with pytest.raises(ValueError, match=r"`temperature`.*temperature=0"):
            make(temperature=0)
        with pytest.raises(ValueError, match=r"`epsilon`.*epsilon=-1"):
            make(epsilon=-1)
        with pytest.raises(TypeError, match=r"`iterations`.*True"):
            make(iterations=True)
