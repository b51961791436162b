"""What the losses over prototypes share."""

from typing import Any

from keras import ops

from keras_ssl import checks
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import are_compatible, check_matrix
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.schedules import serialize


def cross_view_entropy(targets: list[Any], log_predictions: list[Any]) -> Any:
    """Mean cross entropy over the pairs of two different views, one value per example.

    With T targets q_t and S predictions p_s, of which those of equal index are of one view:

        l(i) = -1 / (T S - min(T, S)) Σ_{t} Σ_{s ≠ t} Σ_k q_t(i, k) log p_s(i, k)

    T and S are not both 1.
    """
    total, pairs = 0.0, 0
    for t, target in enumerate(targets):
        # a sum over the views first: one product with the target instead of one per view
        others = [log_p for s, log_p in enumerate(log_predictions) if s != t]
        if others:
            total = total - ops.sum(target * sum(others[1:], others[0]), axis=-1)
            pairs += len(others)
    return total / pairs


def check_scores(scores: Any, name: str) -> Any:
    """Validate scores of at least two prototypes, `(rows, prototypes)`."""
    scores = check_matrix(scores, name, "(batch, prototypes)")
    if scores.shape[1] is not None and scores.shape[1] < 2:
        raise ValueError(
            f"`{name}` must hold scores for at least 2 prototypes: with one, all examples get the "
            f"same assignment. Received: {name}.shape={tuple(scores.shape)}"
        )
    return scores


def scores_by_view(scores: Any, name: str) -> list[Any]:
    """Split `(views, batch, prototypes)`, or a list of views, into validated float32 tensors."""
    if not isinstance(scores, (list, tuple)):
        shape = tuple(getattr(scores, "shape", ()))
        if len(shape) != 3 or shape[0] is None:
            raise ValueError(
                f"`{name}` must be a list of views (batch, prototypes), or one tensor (views, "
                f"batch, prototypes). Received: {name} of type {type(scores).__name__}"
                + (f" and shape {shape}" if shape else "")
            )
        scores = [scores[view] for view in range(shape[0])]
    return [
        at_least_float32(check_scores(one, f"{name}[{view}]")) for view, one in enumerate(scores)
    ]


def check_same_shape(views: list[Any], names: str) -> None:
    """Raise unless the scores of all views have one shape."""
    shapes = [tuple(view.shape) for view in views]
    if not are_compatible(*shapes):
        raise ValueError(
            f"All views of {names} must have one shape (batch, prototypes): row i of each belongs "
            f"to example i. Received shapes: {shapes}"
        )


class TeacherStudentLoss(Float32Loss):
    """Base of losses of a teacher's and a student's scores, each with a temperature of its own.

    Args:
        teacher_temperature: positive number or schedule, by which the teacher's scores are divided.
        student_temperature: the same of the student.
        **kwargs: `reduction`, `name`, `dtype`, as of `keras.losses.Loss`.
    """

    def __init__(
        self,
        teacher_temperature: Any = 0.04,
        student_temperature: Any = 0.1,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.teacher_temperature = checks.positive_or_schedule(
            "teacher_temperature", teacher_temperature
        )
        self.student_temperature = checks.positive_or_schedule(
            "student_temperature", student_temperature
        )

    def check_scores(self, teacher_scores: Any, student_scores: Any) -> None:
        """Raise a `ValueError` unless the loss takes these scores."""
        raise NotImplementedError

    def values(
        self,
        teacher_scores: Any,
        student_scores: Any,
        teacher_temperature: Any,
        student_temperature: Any,
    ) -> Any:
        """Return the values of the examples."""
        raise NotImplementedError

    def __call__(
        self,
        teacher_scores: Any,
        student_scores: Any,
        sample_weight: Any = None,
        teacher_temperature: Any = None,
    ) -> Any:
        """Compute the loss of the teacher's and the student's scores."""
        self.check_scores(teacher_scores, student_scores)
        if teacher_temperature is None:
            teacher_temperature = self.value_now("teacher_temperature")
        teacher_temperature = checks.temperature("teacher_temperature", teacher_temperature)
        return super().__call__(
            (teacher_scores, teacher_temperature), student_scores, sample_weight=sample_weight
        )

    def call(self, inputs: Any, student_scores: Any) -> Any:
        """Return the values of the examples; `inputs` are teacher's scores and temperature."""
        teacher_scores, teacher_temperature = inputs
        student_temperature = self.value_now("student_temperature")
        return self.values(teacher_scores, student_scores, teacher_temperature, student_temperature)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "teacher_temperature": serialize(self.teacher_temperature),
            "student_temperature": serialize(self.student_temperature),
        }
