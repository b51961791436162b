import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import layers, losses
from tests.losses.gradients import compiled_value_and_gradients, value_and_gradients

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "clustering.json").read_text())
VIEWS = np.array(REFERENCE["views"], "float32")


@pytest.mark.parametrize("case", REFERENCE["dino"], ids=lambda case: str(case["epoch"]))
def test_equals_lightly_with_its_centre_and_warm_up(case):
    center = layers.Center(momentum=case["momentum"])
    center.build((None, 4))
    center.center.assign(case["center"])
    # Lightly's epochs 0 to 4 go from 0.04 to 0.07
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.04, 4, 0.07)
    loss = losses.DINOLoss(student_temperature=case["student_temperature"])
    centred = center(VIEWS[:2])
    value, gradients = value_and_gradients(
        lambda *x: loss(centred, list(x), teacher_temperature=warm_up(case["epoch"])), *VIEWS
    )
    np.testing.assert_allclose(value, case["loss"], rtol=1e-5)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    center(VIEWS[:2], training=True)
    np.testing.assert_allclose(center.center, case["center_after"], rtol=1e-5, atol=1e-7)


def test_temperature_of_the_call_overrides_the_constructors():
    constant = losses.DINOLoss(teacher_temperature=0.3)(VIEWS[:2], VIEWS)
    for temperature in (0.3, keras.Variable(0.3), ops.convert_to_tensor(0.3)):
        value = losses.DINOLoss()(VIEWS[:2], VIEWS, teacher_temperature=temperature)
        np.testing.assert_allclose(value, constant, rtol=1e-6)
    assert abs(float(losses.DINOLoss()(VIEWS[:2], VIEWS)) - float(constant)) > 0.01


def test_temperature_may_change_in_a_compiled_step():
    loss = losses.DINOLoss()

    def step(temperature):
        return loss(VIEWS[:2], VIEWS, teacher_temperature=temperature) + 0 * temperature

    for temperature in (0.05, 0.5):
        value, _ = compiled_value_and_gradients(step, np.float32(temperature))
        expected = losses.DINOLoss(teacher_temperature=temperature)(VIEWS[:2], VIEWS)
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_constant_added_to_all_scores_does_not_matter():
    loss = losses.DINOLoss(0.2, 0.3)
    value = loss(VIEWS[:2], VIEWS)
    np.testing.assert_allclose(loss(VIEWS[:2] + 3, VIEWS - 2), value, rtol=1e-4)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(loss(VIEWS[:2, :, order], VIEWS[..., order]), value, rtol=1e-6)


def test_one_view_of_the_teacher_is_enough():
    values = losses.dino(VIEWS[:1], VIEWS[:2])
    changed = losses.dino(VIEWS[:1], np.stack([VIEWS[3], VIEWS[1]]))  # its own view is left out
    np.testing.assert_allclose(values, changed, rtol=1e-6)


@pytest.mark.parametrize(
    ("teacher", "student", "error", "message"),
    [
        (VIEWS[:1], VIEWS[:1], ValueError, "at least two views.*1 in `teacher.*1 in `student"),
        (VIEWS[:3], VIEWS[:2], ValueError, "at least two views.*3 in `teacher.*2 in `student"),
        ([], VIEWS, ValueError, "at least two views.*0 in `teacher"),
        (VIEWS[0], VIEWS, ValueError, r"`teacher_scores` must be a list of views.*\(6, 4\)"),
        (VIEWS, VIEWS[..., :3], ValueError, r"one shape.*\(6, 3\)"),
        (VIEWS[..., :1], VIEWS[..., :1], ValueError, r"at least 2 prototypes.*\(6, 1\)"),
        (VIEWS, VIEWS.astype("int32"), TypeError, r"`student_scores\[0\]`.*int32"),
    ],
)
def test_bad_views(teacher, student, error, message):
    for loss in (losses.DINOLoss(), losses.dino):
        with pytest.raises(error, match=message):
            loss(teacher, student)


@pytest.mark.parametrize("name", ["teacher_temperature", "student_temperature"])
def test_bad_temperatures(name):
    for make in (losses.DINOLoss, lambda **settings: losses.dino(VIEWS, VIEWS, **settings)):
        with pytest.raises(ValueError, match=f"`{name}`.*{name}=0"):
            make(**{name: 0})
        with pytest.raises(TypeError, match=f"`{name}`"):
            make(**{name: "warm"})
    with pytest.raises(ValueError, match=r"`teacher_temperature` must be a scalar.*\(2,\)"):
        losses.DINOLoss()(VIEWS, VIEWS, teacher_temperature=ops.ones((2,)))
