"""Hessian-free optimization, a truncated Newton method for small models and all data."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.optimizers._full_batch import FullBatchLoss, Progress

_GROWTH, _SHRINKAGE = 3 / 2, 2 / 3  # of the damping, by the rule of Levenberg and Marquardt
_START = 0.95  # how much of the last step conjugate gradients start from
_PROGRESS = 5e-4  # relative progress of an iteration below which conjugate gradients stop
_SPACING = 1.3  # ratio of the iterations at which a step is kept
_DECREASE = 1e-2  # part of the slope that a line search must reach


def fit_hessian_free(
    model: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    iterations: int = 50,
    damping: float = 1.0,
    cg_iterations: int = 250,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Train a model on all data at once by Hessian-free optimization, in place of `fit`.

    With g the gradient of the loss over all data, J the Jacobian of the model's outputs by its
    weights, H the Hessian of the loss by the outputs and λ the damping, each iteration solves

        (Jᵀ H J + λ I) d = -g

    by conjugate gradients, which need products of the Gauss-Newton matrix Jᵀ H J with vectors
    alone: one forward and one backward pass each. Of the steps d along the way, the one before the
    loss rises is taken, shortened by a line search. λ shrinks by 2/3 if the loss fell by more than
    3/4 of what the quadratic model promised, and grows by 3/2 if by less than 1/4.

    Newton's method, with λ = 0, the Hessian in place of Jᵀ H J and an exact solution, is the limit
    for models that are linear in their weights. It is not offered for others, since
    their Hessian has negative curvature.

    Meant for networks of up to some ten thousand weights. The loss is the one that `compile` got,
    with penalties, in inference mode: without dropout, and with the moving statistics of batch
    normalisation. It must be convex in the outputs, as all usual ones are: let a classifier return
    logits. The optimizer of `compile` and its settings of the step are not used: the computation
    runs on one replica and without XLA, whatever `jit_compile` is.

    Args:
        model: compiled `keras.Model` with a loss.
        x: input: array, or structure of arrays.
        y: targets, or `None`.
        sample_weight: weights of examples, or `None`.
        iterations: how many steps, integer of at least 1.
        damping: λ at the start, float of at least 0.
        cg_iterations: most iterations of conjugate gradients in a step, integer of at least 1.
        callbacks: Keras callbacks, for which an iteration is an epoch. One that sets
            `model.stop_training` ends the training.

    Returns:
        The `keras.callbacks.History`, with the loss before the first iteration and after each.

    Raises:
        TypeError: if `model` is no Keras model or is a trainer, or the data is not arrays.
        ValueError: if the model is not compiled, or runs on several replicas, in half precision or
            with constraints, or if its loss is random.
        FloatingPointError: if the loss is not finite at the start.
        RuntimeError: on another backend than TensorFlow.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import optimizers
    >>> keras.utils.set_random_seed(0)
    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    ... )
    >>> model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True))
    >>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> y = np.array([[0], [1], [1], [0]])
    >>> history = optimizers.fit_hessian_free(model, x, y, iterations=25)
    >>> bool(history.history["loss"][-1] < 0.01)  # of the exclusive or
    True

    Reference:
        - [Martens, Deep learning via Hessian-free
          optimization](https://icml.cc/Conferences/2010/papers/458.pdf)
    """
    iterations = checks.integer("iterations", iterations, minimum=1)
    damping = checks.number("damping", damping, minimum=0)
    cg_iterations = checks.integer("cg_iterations", cg_iterations, minimum=1)
    if hasattr(model, "total_loss"):
        raise TypeError(
            "`fit_hessian_free` needs a model whose loss compares its outputs with targets; for "
            f"trainers there is `fit_lbfgs`. Received: {type(model).__name__}"
        )
    objective = FullBatchLoss("fit_hessian_free", model, x, y, sample_weight)
    progress = Progress("fit_hessian_free", objective, iterations, callbacks)
    weights, step = objective.read(), 0.0
    loss, gradient = objective.value_and_gradient()
    for _ in range(iterations):

        def curvature(vector: np.ndarray, damping: float = damping) -> np.ndarray:
            return objective.gauss_newton(vector) + damping * vector

        start = np.broadcast_to(_START * step, weights.shape)
        steps = conjugate_gradients(curvature, gradient, start, cg_iterations)
        step, promised = steps.pop()  # with the change of the damped quadratic model
        losses = [objective.value(weights + step)]
        ratio = _ratio(losses[0] - loss, promised - damping / 2 * step @ step)
        while steps:
            earlier = objective.value(weights + steps[-1][0])
            if np.isfinite(losses[-1]) and not earlier < losses[-1]:
                break
            step = steps.pop()[0]
            losses.append(earlier)
        rate, new_loss = _shorten(objective, weights, step, loss, gradient @ step, losses[-1])
        weights = weights + rate * step
        objective.write(weights)
        if ratio < 0.25:
            damping *= _GROWTH
        elif ratio > 0.75:
            damping *= _SHRINKAGE
        loss, gradient = objective.value_and_gradient() if rate else (loss, gradient)
        if progress.record(new_loss):
            break
    return progress.finish()


def conjugate_gradients(
    product: Callable[[np.ndarray], np.ndarray],
    gradient: np.ndarray,
    start: np.ndarray,
    iterations: int,
) -> list[tuple[np.ndarray, float]]:
    """Minimise φ(d) = gᵀd + dᵀBd / 2, and return steps along the way with φ there.

    Args:
        product: function from a vector to its product with B, which is positive definite.
        gradient: g.
        start: d at the start.
        iterations: most iterations.

    Returns:
        Pairs of d and φ(d), at iterations further and further apart; the last pair is the result.
    """
    d, residual = start, gradient + product(start)
    direction, values, kept, next_kept = -residual, [], [], 1.0
    for iteration in range(1, iterations + 1):
        along = product(direction)
        bend, square = direction @ along, residual @ residual
        if not bend > 0 or square == 0:
            break
        d = d + square / bend * direction
        residual = residual + square / bend * along
        direction = residual @ residual / square * direction - residual
        values.append(d @ (residual + gradient) / 2)
        lag = max(10, iteration // 10)
        has_settled = (
            iteration > lag
            and values[-1] < 0
            and (values[-1] - values[-1 - lag]) / values[-1] < lag * _PROGRESS
        )
        if iteration >= next_kept or has_settled or iteration == iterations:
            kept.append((d, float(values[-1])))
            next_kept *= _SPACING
        if has_settled:
            break
    if not kept or kept[-1][0] is not d:
        kept.append((d, float(d @ (residual + gradient) / 2)))
    return kept


def _ratio(change: float, promised: float) -> float:
    """How much of the promised fall of the loss came; 0 if the loss rose or is not finite."""
    return change / promised if np.isfinite(change) and promised < 0 else 0.0


def _shorten(
    objective: FullBatchLoss,
    weights: np.ndarray,
    step: np.ndarray,
    loss: float,
    slope: float,
    at_full: float,
) -> tuple[float, float]:
    """Return the part of a step at which the loss falls enough, and the loss there."""
    rate, value = 1.0, at_full
    for _ in range(60):
        if value <= loss + _DECREASE * rate * min(slope, 0.0):
            return rate, value
        rate *= 0.8
        value = objective.value(weights + rate * step)
    return 0.0, loss
