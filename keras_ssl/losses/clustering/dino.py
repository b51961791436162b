"""DINO: a student predicts the teacher's distribution over prototypes, across views."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import check_same_shape, scores_by_view
from keras_ssl.losses._float32_loss import Float32Loss
from keras_ssl.losses.clustering._cross_view_entropy import cross_view_entropy


def dino(
    teacher_scores: Any,
    student_scores: Any,
    teacher_temperature: Any = 0.04,
    student_temperature: float = 0.1,
) -> Any:
    """Cross entropy of the teacher's and student's distributions across views, by example.

    With g_t the teacher's scores of view t, less their centre, and z_s the student's of view s:

        q_t = softmax(g_t / τ_teacher),  p_s = softmax(z_s / τ_student)
        l(i) = - mean over pairs t ≠ s of Σ_k q_t(i, k) log p_s(i, k)

    The teacher sees T views, the student S, of which the first are the teacher's in the same
    order. The centre keeps the teacher from giving all examples one distribution: subtract it
    with `keras_ssl.layers.Center`, which holds and updates it. No gradient flows to the teacher.

    Args:
        teacher_scores: the teacher's, centred, a list of T times `(n, prototypes)` or one tensor
            `(T, n, prototypes)`.
        student_scores: the student's, S of the same shape.
        teacher_temperature: above 0: a number, or a scalar tensor, such as a schedule's value.
        student_temperature: above 0, as a rule higher than the teacher's.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if there are not two different views to compare, fewer than two prototypes,
            shapes differ, or a temperature is not finite and above 0.
        TypeError: if scores are not floating-point, or a temperature is not a number.

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
    checks.positive("student_temperature", student_temperature)
    check_dino_views(teacher_scores, student_scores)
    targets = [
        ops.stop_gradient(ops.softmax(scores / ops.cast(teacher_temperature, scores.dtype)))
        for scores in scores_by_view(teacher_scores, "teacher_scores")
    ]
    log_predictions = [
        ops.log_softmax(scores / student_temperature)
        for scores in scores_by_view(student_scores, "student_scores")
    ]
    return cross_view_entropy(targets, log_predictions)


def check_dino_views(teacher_scores: Any, student_scores: Any) -> None:
    """Raise unless these are scores of views that a student can learn from a teacher.

    Args:
        teacher_scores: the teacher's scores of its views.
        student_scores: the student's.

    Raises:
        ValueError: as `dino` does.
        TypeError: if scores are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.clustering.dino import check_dino_views
    >>> scores = np.zeros((2, 4, 10), "float32")
    >>> check_dino_views(scores, scores)
    """
    teacher = scores_by_view(teacher_scores, "teacher_scores")
    student = scores_by_view(student_scores, "student_scores")
    if not teacher or len(student) < max(2, len(teacher)):
        raise ValueError(
            "DINO needs at least two views: the student sees all views of the teacher, in the same "
            "order and first, and at least one more than that view. "
            f"Received: {len(teacher)} in `teacher_scores`, {len(student)} in `student_scores`"
        )
    check_same_shape(teacher + student, "`teacher_scores` and `student_scores`")


# a trainer has the class's name
@keras.saving.register_keras_serializable(package="keras_ssl")
class DINOLoss(Float32Loss):
    """Cross entropy of a teacher's and a student's distributions across views, the loss of DINO.

    See `keras_ssl.losses.dino` for the formula. The computation is in float32 under mixed
    precision. Examples are not compared with each other, so replicas exchange nothing here; the
    centre of the teacher's scores is that of all replicas, see `keras_ssl.layers.Center`.

    The paper raises the teacher's temperature linearly over the first epochs. That is a schedule
    of Keras, whose value goes into the call.

    Args:
        teacher_temperature: float above 0, used where the call gives none. Lower ones sharpen.
        student_temperature: float above 0.
        reduction: as in `keras.losses.Loss`; the default is the mean over the examples.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        teacher_scores: the teacher's scores, centred: a list of `(batch, prototypes)`, one a view,
            or one tensor `(views, batch, prototypes)`.
        student_scores: the student's, those of the teacher's views first.
        sample_weight: optional weights of the examples, `(batch,)`.
        teacher_temperature: optional number or scalar tensor in place of the constructor's.

    Returns:
        A scalar, or the `(batch,)` values of the examples with `reduction=None`.

    Raises:
        ValueError: if there are not two different views to compare, fewer than two prototypes,
            shapes differ, or a temperature is not finite and above 0.
        TypeError: if scores are not floating-point, or a temperature is not a number.

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

    Reference:
        - [Caron et al., Emerging Properties in Self-Supervised Vision
          Transformers](https://arxiv.org/abs/2104.14294)
    """

    def __init__(
        self,
        teacher_temperature: float = 0.04,
        student_temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        checks.positive("teacher_temperature", teacher_temperature)
        checks.positive("student_temperature", student_temperature)
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.teacher_temperature = float(teacher_temperature)
        self.student_temperature = float(student_temperature)

    def __call__(
        self,
        teacher_scores: Any,
        student_scores: Any,
        sample_weight: Any = None,
        teacher_temperature: Any = None,
    ) -> Any:
        """Compute the loss of the scores of teacher and student."""
        # before Keras casts, which would hide integers
        check_dino_views(teacher_scores, student_scores)
        if teacher_temperature is None:
            teacher_temperature = self.teacher_temperature
        teacher_temperature = checks.temperature("teacher_temperature", teacher_temperature)
        return super().__call__(
            (teacher_scores, teacher_temperature), student_scores, sample_weight=sample_weight
        )

    def call(self, inputs: Any, student_scores: Any) -> Any:
        """Return the values of the examples; `inputs` are teacher's scores and temperature."""
        teacher_scores, teacher_temperature = inputs
        return dino(teacher_scores, student_scores, teacher_temperature, self.student_temperature)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "teacher_temperature": self.teacher_temperature,
            "student_temperature": self.student_temperature,
        }
