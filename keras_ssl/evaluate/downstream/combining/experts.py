"""Probabilities of several models as one."""

from typing import Any

import numpy as np


def mixture_of_experts(probabilities: Any, weights: Any = None) -> np.ndarray:
    r"""Average the probabilities that several models give to classes.

    With the probabilities $p_m(c)$ of model m and weights $w_m$ of sum 1,

    $$p(c) = \sum_m w_m\, p_m(c)$$

    A class is likely if some models say so. Weights of each example, such as those of a gate, make
    it the mixture of local experts.

    Args:
        probabilities: `(models, examples, classes)`, or a list of arrays `(examples, classes)`, for
            each example of sum 1.
        weights: positive numbers `(models,)`, or `(models, examples)`, which are divided by their
            sum over models; some may be 0. `None` means equal ones.

    Returns:
        float64 array `(examples, classes)`.

    Raises:
        ValueError: if probabilities are negative, not finite, or of another sum than 1, models have
            other shapes, or weights do not fit.

    Example:

    >>> from keras_ssl import evaluate
    >>> sure, unsure = [[1.0, 0.0]], [[0.25, 0.75]]
    >>> evaluate.mixture_of_experts([sure, unsure])
    array([[0.625, 0.375]])

    Reference:
        [Jacobs et al., Adaptive Mixtures of Local Experts](
        https://doi.org/10.1162/neco.1991.3.1.79)
    """
    probabilities = _check_probabilities(probabilities)
    weights = _check_weights(weights, probabilities)
    weights = weights / weights.sum(axis=0)
    return np.einsum("mn,mnc->nc", weights, probabilities)


def product_of_experts(probabilities: Any, weights: Any = None) -> np.ndarray:
    r"""Multiply the probabilities that several models give to classes, and normalize them.

    With the probabilities $p_m(c)$ of model m and exponents $w_m$,

    $$p(c) = \frac{\prod_m p_m(c)^{w_m}}{\sum_{c'} \prod_m p_m(c')^{w_m}}$$

    A class is likely if no model denies it. Exponents of 1 take the models as independent, and give
    sharp probabilities if they are not; those of 1 over the number of models, the geometric mean,
    do not change what models agree on. Both choose the same class.

    Args:
        probabilities: `(models, examples, classes)`, or a list of arrays `(examples, classes)`, for
            each example of sum 1.
        weights: exponents, positive numbers `(models,)`, or `(models, examples)`; some may be 0.
            `None` means 1.

    Returns:
        float64 array `(examples, classes)`.

    Raises:
        ValueError: if probabilities are negative, not finite, or of another sum than 1, models have
            other shapes, weights do not fit, or each class of an example has the probability 0 of
            some model.

    Example:

    >>> from keras_ssl import evaluate
    >>> sure, unsure = [[0.9, 0.1]], [[0.25, 0.75]]
    >>> evaluate.product_of_experts([sure, unsure]).round(3)
    array([[0.75, 0.25]])

    Reference:
        [Hinton, Training Products of Experts by Minimizing Contrastive Divergence](
        https://doi.org/10.1162/089976602760128018)
    """
    from scipy.special import log_softmax

    probabilities = _check_probabilities(probabilities)
    weights = _check_weights(weights, probabilities)
    used = weights[:, :, None] > 0
    with np.errstate(divide="ignore"):
        logarithms = np.log(probabilities, where=used, out=np.zeros_like(probabilities))
    logarithms = np.sum(weights[:, :, None] * logarithms, axis=0)
    excluded = np.isneginf(logarithms).all(axis=1)
    if excluded.any():
        raise ValueError(
            "`probabilities` must leave a class that no model gives the probability 0. "
            f"Received: none for {np.count_nonzero(excluded)} of {len(excluded)} examples, the "
            f"first of which is {int(np.argmax(excluded))}"
        )
    return np.exp(log_softmax(logarithms, axis=1))


def _check_probabilities(probabilities: Any) -> np.ndarray:
    parts = [np.asarray(one, "float64") for one in probabilities]
    if (
        not parts
        or len({one.shape for one in parts}) > 1
        or parts[0].ndim != 2
        or not parts[0].size
    ):
        raise ValueError(
            "`probabilities` must have one shape (examples, classes) for each of one model or "
            f"more. Received: shapes {[one.shape for one in parts]}"
        )
    probabilities = np.stack(parts)
    if not np.isfinite(probabilities).all() or (probabilities < 0).any():
        raise ValueError(
            "`probabilities` must be finite and at least 0. Received: values from "
            f"{probabilities.min():g} to {probabilities.max():g}"
        )
    sums = probabilities.sum(axis=-1)
    if np.abs(sums - 1).max() > 1e-3:
        raise ValueError(
            "`probabilities` must have the sum 1 for each example, such as a softmax of logits. "
            f"Received: sums from {sums.min():g} to {sums.max():g}"
        )
    return probabilities / sums[..., None]


def _check_weights(weights: Any, probabilities: np.ndarray) -> np.ndarray:
    """Return weights `(models, examples)`."""
    models, examples, _ = probabilities.shape
    weights = np.ones(models) if weights is None else np.asarray(weights, "float64")
    if weights.shape not in ((models,), (models, examples)):
        raise ValueError(
            f"`weights` must have shape ({models},) or ({models}, {examples}), one for each model, "
            f"or for each model and example. Received: shape {weights.shape}"
        )
    weights = np.broadcast_to(
        weights if weights.ndim == 2 else weights[:, None], (models, examples)
    )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any(axis=0).all():
        raise ValueError(
            "`weights` must be finite, at least 0, and not all 0. Received: values from "
            f"{weights.min():g} to {weights.max():g}"
        )
    return weights
