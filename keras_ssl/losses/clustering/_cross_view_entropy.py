"""Each view predicts what the other views were assigned to."""

from typing import Any

from keras import ops


def cross_view_entropy(targets: list[Any], log_predictions: list[Any]) -> Any:
    """Mean cross entropy of the pairs of two different views, one value an example.

    With T targets q_t and S predictions p_s, where target and prediction of one number belong
    to one view:

        l(i) = -1 / (T S - min(T, S)) Σ_{t} Σ_{s ≠ t} Σ_k q_t(i, k) log p_s(i, k)

    Args:
        targets: distributions of T views, each `(n, k)`.
        log_predictions: logarithms of the distributions of S views, each `(n, k)`; the views of
            the targets come first. S and T are not both 1.

    Returns:
        Tensor of shape `(n,)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.clustering._cross_view_entropy import cross_view_entropy
    >>> uniform = np.full((1, 2), 0.5, "float32")
    >>> values = cross_view_entropy([uniform, uniform], [np.log(uniform), np.log(uniform)])
    >>> [round(float(value), 4) for value in values]  # log 2
    [0.6931]
    """
    total, pairs = 0.0, 0
    for t, target in enumerate(targets):
        # a sum over views first: one product with the target in place of one a view
        others = [log_p for s, log_p in enumerate(log_predictions) if s != t]
        if others:
            total = total - ops.sum(target * sum(others[1:], others[0]), axis=-1)
            pairs += len(others)
    return total / pairs
