"""The iterations of the Sinkhorn-Knopp algorithm, on logarithms."""

from typing import Any

from keras import ops

from keras_ssl import distribute


def balanced_log_assignments(logits: Any, iterations: int, queue: Any = None) -> Any:
    """Return logarithms of assignments that use all columns equally, over all replicas.

    Starts from Q = exp(logits) and, `iterations` times, divides each column by its sum over all
    rows, then each row by its sum.

    Args:
        logits: `(n, ..., columns)`, at least float32. What lies along middle axes is balanced each
            on its own.
        iterations: how often columns and rows are normalized.
        queue: further rows that count in the sums of columns, the same on all replicas; or `None`.

    Returns:
        log Q, `(n, ..., columns)`, the rows of this replica.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_ssl.ops import balanced_log_assignments
    >>> logits = np.array([[18.0, 2.0], [16.0, 6.0]], "float32")
    >>> np.round(ops.exp(balanced_log_assignments(logits, iterations=3)), 2)
    array([[0.97, 0.03],
           [0.08, 0.92]], dtype=float32)

    Reference:
        - [Cuturi, Sinkhorn Distances: Lightspeed Computation of Optimal
          Transport](https://arxiv.org/abs/1306.0895)
    """
    log_q = logits
    for _ in range(iterations):
        # replicas exchange a row of sums, which is less than their scores
        sums = distribute.all_gather(ops.logsumexp(log_q, axis=0, keepdims=True))
        if queue is not None:
            of_queue = ops.logsumexp(queue, axis=0, keepdims=True)
            sums = ops.concatenate([sums, of_queue], axis=0)
        sums = ops.logsumexp(sums, axis=0, keepdims=True)
        log_q = _normalized_rows(log_q - sums)
        queue = None if queue is None else _normalized_rows(queue - sums)
    return log_q


def _normalized_rows(log_q: Any) -> Any:
    return log_q - ops.logsumexp(log_q, axis=-1, keepdims=True)
