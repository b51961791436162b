"""The loss of DINO."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._base import like
from keras_ssl.losses.clustering._base import (
    TeacherStudentLoss,
    check_same_shape,
    cross_view_entropy,
    scores_by_view,
)


def dino(
    teacher_scores: Any,
    student_scores: Any,
    teacher_temperature: Any = 0.04,
    student_temperature: Any = 0.1,
) -> Any:
    """Cross entropy of the teacher's and student's distributions across views, per example.

    With g_t the centred scores of the teacher for view t, and z_s those of the student for view s:

        q_t = softmax(g_t / τ_teacher),  p_s = softmax(z_s / τ_student)
        l(i) = - mean over pairs t ≠ s of Σ_k q_t(i, k) log p_s(i, k)

    The teacher sees T views and the student S views, of which the first T are those of the teacher
    in the same order. Centring keeps the teacher from giving all examples one distribution: use
    `keras_ssl.layers.Center`, which subtracts a moving mean. No gradient flows to the teacher.

    Args:
        teacher_scores: centred scores of the teacher: a list of T tensors `(n, prototypes)`, or
            one tensor `(T, n, prototypes)`.
        student_scores: the same for the S views of the student.
        teacher_temperature: above 0: a number, or a scalar tensor, such as a schedule's value.
        student_temperature: the same for the student, usually higher than the teacher's.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if there are not two different views to compare, fewer than two prototypes,
            shapes differ, or an argument is out of range.
        TypeError: if scores are not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.zeros((2, 3, 8), "float32")  # two views, three examples
    >>> [round(float(value), 3) for value in losses.dino(scores, scores)]  # log 8
    [2.079, 2.079, 2.079]

    Reference:
        - [Caron et al., Emerging Properties in Self-Supervised Vision
          Transformers](https://arxiv.org/abs/2104.14294)
    """
    teacher_temperature = checks.temperature("teacher_temperature", teacher_temperature)
    student_temperature = checks.temperature("student_temperature", student_temperature)
    teacher, student = _check_views(teacher_scores, student_scores)
    targets = [
        ops.stop_gradient(ops.softmax(scores / like(teacher_temperature, scores)))
        for scores in teacher
    ]
    log_predictions = [
        ops.log_softmax(scores / like(student_temperature, scores)) for scores in student
    ]
    return cross_view_entropy(targets, log_predictions)


def _check_views(teacher_scores: Any, student_scores: Any) -> tuple[list[Any], list[Any]]:
    teacher = scores_by_view(teacher_scores, "teacher_scores")
    student = scores_by_view(student_scores, "student_scores")
    if not teacher or len(student) < max(2, len(teacher)):
        raise ValueError(
            "DINO needs at least two views: the student sees first all views of the teacher, in "
            "the same order, and a second view if the teacher sees one only. "
            f"Received: {len(teacher)} in `teacher_scores`, {len(student)} in `student_scores`"
        )
    check_same_shape(teacher + student, "`teacher_scores` and `student_scores`")
    return teacher, student


@keras.saving.register_keras_serializable(package="keras_ssl")
class DINOLoss(TeacherStudentLoss):
    """Cross entropy of a teacher's and a student's distributions across views, the loss of DINO.

    See `keras_ssl.losses.dino` for the formula, errors and reference. The computation is in
    float32 under mixed precision. Replicas exchange nothing here; `keras_ssl.layers.Center`
    averages the teacher's scores over all replicas.

    The paper raises the teacher's temperature linearly over the first epochs: pass a schedule of
    Keras, or the value of one to the call.

    Args:
        teacher_temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`; used
            unless the call gives one. Low values sharpen.
        student_temperature: float above 0, or a schedule.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        teacher_scores: centred scores of the teacher: a list of `(batch, prototypes)`, one per
            view, or one tensor `(views, batch, prototypes)`.
        student_scores: those of the student, with the teacher's views first.
        sample_weight: optional weights of the examples, `(batch,)`.
        teacher_temperature: optional number or scalar tensor that replaces the constructor's.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ssl import layers, losses
    >>> loss, center = losses.DINOLoss(), layers.Center()
    >>> warm_up = keras.optimizers.schedules.PolynomialDecay(0.04, 1000, 0.07)
    >>> teacher = np.eye(2, 8, dtype="float32")[None]  # one global view of two examples
    >>> student = np.zeros((3, 2, 8), "float32")  # that view and two local ones
    >>> value = loss(center(teacher), student, teacher_temperature=warm_up(500))
    >>> round(float(value), 3)  # log 8
    2.079
    """

    def check_scores(self, teacher_scores: Any, student_scores: Any) -> None:
        """Raise a `ValueError` unless the loss takes these scores."""
        _check_views(teacher_scores, student_scores)

    def values(
        self,
        teacher_scores: Any,
        student_scores: Any,
        teacher_temperature: Any,
        student_temperature: Any,
    ) -> Any:
        """Return the values of the examples."""
        return dino(teacher_scores, student_scores, teacher_temperature, student_temperature)
