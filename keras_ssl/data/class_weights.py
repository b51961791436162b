"""Weights of classes against their frequency."""

from typing import Any

import numpy as np

from keras_ssl import checks


def class_weights(labels: Any, beta: float | None = None) -> dict[int, float]:
    r"""Return weights of classes against their frequency, as `fit(class_weight=...)` takes them.

    Of N examples in C classes, those of a class that has $n_c$ of them get the weight

    $$w_c = \frac{N}{C n_c}$$

    so that all classes have the same share in the loss. With `beta`, the number of examples is
    replaced by their effective number, since each further example of a class adds less to the
    others: $w_c \propto (1 - \beta) / (1 - \beta^{n_c})$. It is between equal weights ($\beta = 0$)
    and those above ($\beta \to 1$).

    In both cases the mean weight over the examples is 1, so that the learning rate need not change.
    The paper lets the weights of the classes sum to C instead.

    Args:
        labels: integers from 0 of shape `(n,)` or `(n, 1)`. The label -1 means no label: such
            examples are not counted.
        beta: $\beta$ of the effective number, in [0, 1), such as 0.999. `None` takes the number of
            examples itself.

    Returns:
        Dictionary from each class that occurs to its weight.

    Raises:
        TypeError: if labels are not integers, or `beta` is not a number.
        ValueError: if there are no labels, labels have another shape or are below -1, or `beta` is
            out of range.

    Example:

    >>> from keras_ssl import data
    >>> data.class_weights([0, 0, 0, 1])
    {0: 0.666..., 1: 2.0}
    >>> data.class_weights([0, 0, 0, 1], beta=0.9)
    {0: 0.700..., 1: 1.898...}

    Reference:
        - [Cui et al., Class-Balanced Loss Based on Effective Number of
          Samples](https://arxiv.org/abs/1901.05555)
    """
    from sklearn.utils.class_weight import compute_class_weight

    labels = class_of_examples(labels, "labels", minimum=-1)
    labels = labels[labels >= 0]
    if not len(labels):
        raise ValueError("`labels` must hold classes. Received: no label of at least 0")
    classes, counts = np.unique(labels, return_counts=True)
    if beta is None:
        weights = compute_class_weight("balanced", classes=classes, y=labels)
    else:
        beta = checks.below_one("beta", beta)
        # 1 - beta^n, of which little is left in floating-point numbers for a beta near 1
        of_all = -np.expm1(counts * np.log(beta)) if beta else np.ones(len(counts))
        weights = 1 / of_all
        weights *= counts.sum() / np.sum(counts * weights)
    return {int(one): float(weight) for one, weight in zip(classes, weights, strict=True)}


def class_of_examples(labels: Any, name: str, minimum: int) -> np.ndarray:
    """Return labels as integers `(n,)`, or raise.

    Args:
        labels: integers `(n,)` or `(n, 1)`.
        name: how messages call them.
        minimum: the smallest label that is allowed, 0 or -1.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"`{name}` must be one class for each example, of shape (n,) or (n, 1). For one-hot "
            f"labels, pass `argmax(labels, axis=-1)`. Received: shape {labels.shape}"
        )
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"`{name}` must be integers. Received: dtype {labels.dtype}")
    if labels.size and labels.min() < minimum:
        no_label = ", or -1 for no label" if minimum == -1 else ""
        hint = "" if minimum == -1 else " Leave examples without a label out first."
        raise ValueError(
            f"`{name}` must be classes from 0{no_label}.{hint} Received: a label of {labels.min()}"
        )
    return labels.astype("int64")
