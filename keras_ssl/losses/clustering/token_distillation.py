"""The loss of the masked tokens of iBOT and DINOv2."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._base import like
from keras_ssl.losses._checks import are_compatible, check_dtype
from keras_ssl.losses.clustering._base import TeacherStudentLoss
from keras_ssl.ops import at_least_float32


def token_distillation(
    teacher_scores: Any,
    student_scores: Any,
    teacher_temperature: Any = 0.04,
    student_temperature: Any = 0.1,
) -> Any:
    """Cross entropy of a teacher's and a student's distributions of the same tokens, per example.

    With g_j the centred scores of the teacher for token j, and z_j those of the student, to whom
    the token was hidden:

        q_j = softmax(g_j / τ_teacher),  p_j = softmax(z_j / τ_student)
        l(i) = - mean over tokens j of Σ_k q_j(i, k) log p_j(i, k)

    No gradient flows to the teacher.

    Args:
        teacher_scores: centred scores of the teacher, `(n, tokens, prototypes)`.
        student_scores: those of the student for the same tokens.
        teacher_temperature: above 0: a number, or a scalar tensor, such as a schedule's value.
        student_temperature: the same for the student, usually higher than the teacher's.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes are not two equal `(n, tokens, prototypes)`, there are fewer than
            two prototypes, or an argument is out of range.
        TypeError: if scores are not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.zeros((3, 5, 8), "float32")
    >>> [round(float(value), 3) for value in losses.token_distillation(scores, scores)]  # log 8
    [2.079, 2.079, 2.079]

    Reference:
        - [Zhou et al., iBOT: Image BERT Pre-Training with Online
          Tokenizer](https://arxiv.org/abs/2111.07832)
        - [Oquab et al., DINOv2](https://arxiv.org/abs/2304.07193)
    """
    teacher_temperature = checks.temperature("teacher_temperature", teacher_temperature)
    student_temperature = checks.temperature("student_temperature", student_temperature)
    _check_scores(teacher_scores, student_scores)
    teacher, student = (at_least_float32(one) for one in (teacher_scores, student_scores))
    q = ops.stop_gradient(ops.softmax(teacher / like(teacher_temperature, teacher)))
    log_p = ops.log_softmax(student / like(student_temperature, student))
    return -ops.mean(ops.sum(q * log_p, axis=-1), axis=-1)


def _check_scores(teacher_scores: Any, student_scores: Any) -> None:
    names = ("teacher_scores", "student_scores")
    pairs = zip(names, (teacher_scores, student_scores), strict=True)
    shapes = [tuple(check_dtype(scores, name).shape) for name, scores in pairs]
    if not are_compatible(*shapes) or len(shapes[0]) != 3 or (shapes[0][-1] or 2) < 2:
        raise ValueError(
            "`teacher_scores` and `student_scores` must have one shape (batch, tokens, "
            f"prototypes), with at least 2 prototypes. Received: shapes {shapes[0]} and {shapes[1]}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class TokenDistillation(TeacherStudentLoss):
    """Cross entropy of a teacher's and a student's distributions of tokens, for masked ones.

    See `keras_ssl.losses.token_distillation` for the formula, errors and references. It is the loss
    of masked patches in iBOT and DINOv2, where that of the class token is `DINOLoss`. The
    computation is in float32 under mixed precision.

    Args:
        teacher_temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`; used
            unless the call gives one. Low values sharpen.
        student_temperature: float above 0, or a schedule.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        teacher_scores: centred scores of the teacher, `(batch, tokens, prototypes)`.
        student_scores: those of the student for the same tokens.
        sample_weight: optional weights of the examples, `(batch,)`.
        teacher_temperature: optional number or scalar tensor that replaces the constructor's.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.eye(2, 8, dtype="float32")[None]  # one example of two tokens
    >>> round(float(losses.TokenDistillation()(scores, 0 * scores)), 3)  # log 8
    2.079
    """

    def check_scores(self, teacher_scores: Any, student_scores: Any) -> None:
        """Raise a `ValueError` unless the loss takes these scores."""
        _check_scores(teacher_scores, student_scores)

    def values(
        self,
        teacher_scores: Any,
        student_scores: Any,
        teacher_temperature: Any,
        student_temperature: Any,
    ) -> Any:
        """Return the values of the examples."""
        return token_distillation(
            teacher_scores, student_scores, teacher_temperature, student_temperature
        )
