"""Assignments to prototypes by the Sinkhorn-Knopp algorithm."""

from typing import Any

from keras import ops

from keras_ssl import checks
from keras_ssl.losses.clustering._base import check_scores
from keras_ssl.ops import at_least_float32, balanced_log_assignments


def sinkhorn_knopp(
    scores: Any, epsilon: float = 0.05, iterations: int = 3, queue_scores: Any = None
) -> Any:
    """Assign examples to prototypes so that all prototypes are used equally.

    Starts from `Q = exp(scores / ε)` and, `iterations` times, divides each column by its sum over
    all examples, then each row by its sum over the prototypes. In the limit Q maximises
    `Σ Q scores + ε H(Q)` among all assignments with equal column sums; SwAV stops after three
    iterations. The computation is on logarithms, so that no score overflows.

    Column sums run over the examples of all replicas and of the queue. Each replica gets the rows
    of its own examples, which equal those of a single replica with the whole batch. No gradient
    flows through the assignments.

    Args:
        scores: similarities of examples and prototypes, `(n, prototypes)`, floating-point.
        epsilon: ε, above 0. Low values give sharp assignments.
        iterations: how often columns and rows are normalised, at least 1.
        queue_scores: optional scores of earlier examples, `(any number, prototypes)`, the same on
            all replicas. They count in the column sums; their assignments are not returned.

    Returns:
        Tensor `(n, prototypes)`, at least float32. Rows sum to 1; columns sum, over all examples,
        to nearly examples / prototypes.

    Raises:
        ValueError: if shapes do not fit, there are fewer than two prototypes, or an argument is
            out of range.
        TypeError: if scores are not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> scores = np.array([[0.9, 0.1], [0.8, 0.3]], "float32")  # both are nearer the first
    >>> np.round(losses.sinkhorn_knopp(scores), 2)
    array([[0.97, 0.03],
           [0.08, 0.92]], dtype=float32)

    Reference:
        - [Cuturi, Sinkhorn Distances: Lightspeed Computation of Optimal
          Transport](https://arxiv.org/abs/1306.0895)
        - [Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster
          Assignments](https://arxiv.org/abs/2006.09882)
    """
    checks.positive("epsilon", epsilon)
    checks.integer("iterations", iterations, minimum=1)
    scores = ops.stop_gradient(at_least_float32(check_scores(scores, "scores")))
    queue = None
    if queue_scores is not None:
        check_queue_scores(queue_scores, scores)
        queue = ops.stop_gradient(ops.cast(queue_scores, scores.dtype)) / epsilon
    return ops.exp(balanced_log_assignments(scores / epsilon, iterations, queue))


def check_queue_scores(queue_scores: Any, scores: Any, name: str = "queue_scores") -> None:
    """Raise unless the scores of a queue are for the prototypes of the batch."""
    check_scores(queue_scores, name)
    widths = (queue_scores.shape[1], scores.shape[1])
    if None not in widths and widths[0] != widths[1]:
        raise ValueError(
            f"`{name}` must be scores for the {widths[1]} prototypes of the batch. "
            f"Received: {name}.shape={tuple(queue_scores.shape)}"
        )
