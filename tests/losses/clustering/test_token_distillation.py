import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.gradients import value_and_gradients


def formula(teacher, student, tau_teacher=0.04, tau_student=0.1):
    """Return the value of each example in float64."""
    q = np.exp(teacher / tau_teacher - (teacher / tau_teacher).max(-1, keepdims=True))
    q /= q.sum(-1, keepdims=True)
    z = student / tau_student
    log_p = z - z.max(-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
    return -(q * log_p).sum(-1).mean(-1)


@pytest.fixture
def scores(rng):
    """Scores of three examples of five tokens for seven prototypes."""
    return [rng.uniform(-1, 1, size=(3, 5, 7)).astype("float32") for _ in range(2)]


def test_equals_the_formula(scores, rng):
    wide = [one.astype("float64") for one in scores]
    found = losses.token_distillation(*scores, 0.2, 0.3)
    np.testing.assert_allclose(found, formula(*wide, 0.2, 0.3), rtol=1e-5)
    np.testing.assert_allclose(losses.TokenDistillation()(*scores), formula(*wide).mean(), 1e-5)
    weights = rng.uniform(size=3).astype("float32")
    weighted = losses.TokenDistillation()(*scores, sample_weight=weights)
    np.testing.assert_allclose(weighted, np.mean(weights * formula(*wide)), rtol=1e-5)


def test_gradient_is_that_of_the_student_alone(scores):
    _, (of_teacher, of_student) = value_and_gradients(losses.TokenDistillation(), *scores)
    assert of_teacher.dtype == object or np.all(of_teacher == 0)  # TensorFlow's is `None`
    wide, step = [one.astype("float64") for one in scores], 1e-6
    for place in [(0, 0, 0), (1, 3, 2), (2, 4, 6)]:
        moved = np.zeros((3, 5, 7))
        moved[place] = step
        change = formula(wide[0], wide[1] + moved) - formula(wide[0], wide[1] - moved)
        np.testing.assert_allclose(of_student[place], change.mean() / (2 * step), rtol=1e-3)


def test_temperature_of_the_call_overrides_the_constructors(scores):
    found = losses.TokenDistillation()(*scores, teacher_temperature=0.3)
    np.testing.assert_allclose(found, losses.TokenDistillation(0.3)(*scores), rtol=1e-6)


def test_half_precision_is_computed_in_float32(scores):
    half = [ops.cast(one, "float16") for one in scores]
    found = losses.token_distillation(*half)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    exact = [ops.convert_to_numpy(one).astype("float64") for one in half]
    np.testing.assert_allclose(found, formula(*exact), rtol=1e-4)


def test_config():
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.04, 10, 0.07)
    loss = losses.TokenDistillation(warm_up, student_temperature=0.2)
    copy = losses.TokenDistillation.from_config(loss.get_config())
    assert copy.get_config() == loss.get_config() and copy.student_temperature == 0.2


@pytest.mark.parametrize(
    ("teacher", "student", "error", "message"),
    [
        ((3, 5, 7), (3, 5, 8), ValueError, r"one shape.*\(3, 5, 7\) and \(3, 5, 8\)"),
        ((3, 7), (3, 7), ValueError, "batch, tokens, prototypes"),
        ((3, 5, 1), (3, 5, 1), ValueError, "at least 2 prototypes"),
    ],
)
def test_bad_shapes(teacher, student, error, message):
    with pytest.raises(error, match=message):
        losses.TokenDistillation()(np.zeros(teacher, "float32"), np.zeros(student, "float32"))


def test_bad_types(scores):
    with pytest.raises(TypeError, match=r"`student_scores`.*int32"):
        losses.TokenDistillation()(scores[0], scores[1].astype("int32"))
    with pytest.raises(ValueError, match="student_temperature"):
        losses.token_distillation(*scores, student_temperature=0.0)
