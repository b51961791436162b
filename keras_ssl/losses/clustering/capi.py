"""The loss of CAPI: cross entropy with assignments that are balanced position by position."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._base import Float32Loss, like
from keras_ssl.losses._checks import are_compatible, check_dtype
from keras_ssl.ops import at_least_float32, balanced_log_assignments
from keras_ssl.ops.schedules import serialize


def positionwise_sinkhorn_knopp(scores: Any, epsilon: Any = 0.06, iterations: int = 3) -> Any:
    """Assign tokens to clusters so that, at each position, all clusters are used equally.

    As `keras_ssl.losses.sinkhorn_knopp`, but for each position of the tokens on its own: starts
    from `Q = exp(scores / ε)` and, `iterations` times, divides by the sum over the examples of all
    replicas, then by the sum over the clusters. So no cluster can stand for a position, which it
    may where all tokens are balanced at once. No gradient flows through the assignments.

    Args:
        scores: scores of tokens for clusters, `(n, positions, clusters)`, floating-point.
        epsilon: ε, above 0: a number, or a scalar tensor, such as a schedule's value.
        iterations: how often examples and clusters are normalised, at least 1.

    Returns:
        Tensor `(n, positions, clusters)`, at least float32, which sums to 1 over the clusters.

    Raises:
        ValueError: if scores are not `(n, positions, clusters)` of at least two clusters, or an
            argument is out of range.
        TypeError: if scores are not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[[0.9, 0.1]], [[0.8, 0.3]]], "float32")  # two examples of one token
    >>> np.round(losses.positionwise_sinkhorn_knopp(scores, epsilon=0.05)[:, 0], 2)
    array([[0.97, 0.03],
           [0.08, 0.92]], dtype=float32)

    Reference:
        - [Darcet et al., Cluster and Predict Latent Patches for Improved Masked Image
          Modeling](https://arxiv.org/abs/2502.08769)
    """
    epsilon = checks.temperature("epsilon", epsilon)
    checks.integer("iterations", iterations, minimum=1)
    _check_tokens("scores", scores)
    scores = ops.stop_gradient(at_least_float32(scores))
    return ops.exp(balanced_log_assignments(scores / like(epsilon, scores), iterations))


def capi(assignments: Any, scores: Any, temperature: Any = 0.12) -> Any:
    """Cross entropy of the assignments of tokens and predicted scores, per example.

    With q_j the assignment of token j to clusters k and z_j the scores:

        l(i) = - mean over tokens j of Σ_k q_j(i, k) log softmax(z_j(i) / τ)_k

    No gradient flows to the assignments.

    Args:
        assignments: `(n, tokens, clusters)`, such as `positionwise_sinkhorn_knopp` returns.
        scores: scores of the same tokens, `(n, tokens, clusters)`.
        temperature: τ, above 0: a number, or a scalar tensor, such as a schedule's value.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes are not two equal `(n, tokens, clusters)`, there are fewer than
            two clusters, or `temperature` is not positive.
        TypeError: if an input is not floating-point, or `temperature` has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> assignments = np.full((3, 5, 8), 1 / 8, "float32")
    >>> [round(float(value), 3) for value in losses.capi(assignments, 0 * assignments)]  # log 8
    [2.079, 2.079, 2.079]

    Reference:
        - [Darcet et al., Cluster and Predict Latent Patches for Improved Masked Image
          Modeling](https://arxiv.org/abs/2502.08769)
    """
    temperature = checks.temperature("temperature", temperature)
    _check_pair(assignments, scores)
    q, scores = ops.stop_gradient(at_least_float32(assignments)), at_least_float32(scores)
    log_p = ops.log_softmax(scores / like(temperature, scores))
    return -ops.mean(ops.sum(q * log_p, axis=-1), axis=-1)


def _check_tokens(name: str, scores: Any) -> tuple:
    shape = tuple(check_dtype(scores, name).shape)
    if len(shape) != 3 or (shape[-1] or 2) < 2:
        raise ValueError(
            f"`{name}` must have shape (batch, tokens, clusters), with at least 2 clusters. "
            f"Received: {name}.shape={shape}"
        )
    return shape


def _check_pair(assignments: Any, scores: Any) -> None:
    shapes = [_check_tokens(*one) for one in (("assignments", assignments), ("scores", scores))]
    if not are_compatible(*shapes):
        raise ValueError(
            "`assignments` and `scores` must have one shape: token j of both is the same. "
            f"Received: shapes {shapes[0]} and {shapes[1]}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class CAPILoss(Float32Loss):
    """Cross entropy with a teacher's assignments of tokens to clusters, as in CAPI.

    Both losses of the method are this one: of the tokens' own scores, which moves the clusters, and
    of the scores that a predictor gives hidden tokens. `assign` makes the assignments once for
    both. See `keras_ssl.losses.capi` and `keras_ssl.losses.positionwise_sinkhorn_knopp` for the
    formulas, errors and reference. The computation is in float32 under mixed precision.

    Args:
        teacher_temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`: by which
            scores are divided before they are balanced.
        student_temperature: the same for scores that are compared with assignments.
        iterations: how often assignments are normalised, an integer of at least 1.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        assignments: assignments of tokens, `(batch, tokens, clusters)`, as `assign` makes them.
        scores: scores of the same tokens.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.CAPILoss()
    >>> scores = np.eye(2, dtype="float32")[:, None]  # two examples of one token
    >>> round(float(loss(loss.assign(scores), 0 * scores)), 3)  # log 2
    0.693
    """

    def __init__(
        self,
        teacher_temperature: Any = 0.06,
        student_temperature: Any = 0.12,
        iterations: int = 3,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.teacher_temperature = checks.positive_or_schedule(
            "teacher_temperature", teacher_temperature
        )
        self.student_temperature = checks.positive_or_schedule(
            "student_temperature", student_temperature
        )
        self.iterations = checks.integer("iterations", iterations, minimum=1)

    def assign(self, scores: Any) -> Any:
        """Return balanced assignments of a teacher's tokens.

        Args:
            scores: scores of all tokens for the clusters, `(batch, tokens, clusters)`.

        Returns:
            Tensor of the shape of `scores`, at least float32, without a gradient.

        Raises:
            ValueError: as `keras_ssl.losses.positionwise_sinkhorn_knopp`.
            TypeError: as `keras_ssl.losses.positionwise_sinkhorn_knopp`.
        """
        epsilon = self.value_now("teacher_temperature")
        return positionwise_sinkhorn_knopp(scores, epsilon, self.iterations)

    def __call__(self, assignments: Any, scores: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of assignments and scores."""
        _check_pair(assignments, scores)
        return super().__call__(assignments, scores, sample_weight=sample_weight)

    def call(self, assignments: Any, scores: Any) -> Any:
        """Return the values of the examples."""
        return capi(assignments, scores, self.value_now("student_temperature"))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "teacher_temperature": serialize(self.teacher_temperature),
            "student_temperature": serialize(self.student_temperature),
            "iterations": self.iterations,
        }
