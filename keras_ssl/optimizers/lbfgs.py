"""L-BFGS, a quasi-Newton method for small models and all data."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.optimizers._full_batch import FullBatchLoss, Progress


def fit_lbfgs(
    model: keras.Model,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    iterations: int = 100,
    memory: int = 10,
    gradient_tolerance: float = 1e-5,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.callbacks.History:
    """Train a model on all data at once by L-BFGS, in place of `fit`.

    Each iteration goes along `-H g`, with g the gradient of the loss over all data and H an
    estimate of the inverse Hessian from the last few steps and changes of the gradient, as far as
    a line search finds good. For linear models, probes and small networks it is far faster and
    more exact than stochastic descent. The computation is SciPy's L-BFGS-B, in double precision
    but for the loss and the gradient.

    The loss is the one that `compile` got, or the trainer's own, in inference mode: without
    dropout, and with the moving statistics of batch normalisation, which do not move. The optimizer
    of `compile` and its settings of the step are not used: the computation runs on one replica
    and without XLA, whatever `jit_compile` is. A loss that is random is refused.

    Args:
        model: compiled `keras.Model`, or trainer of keras_ssl with one optimizer and without
            `augment`.
        x: input: array, or structure of arrays.
        y: targets, or `None`.
        sample_weight: weights of examples, or `None`.
        iterations: most iterations, integer of at least 1. Each evaluates the loss once or more.
        memory: how many steps H is estimated from, integer of at least 1.
        gradient_tolerance: stop when no element of the gradient is larger, float of at least 0.
        callbacks: Keras callbacks, for which an iteration is an epoch. One that sets
            `model.stop_training` ends the training.

    Returns:
        The `keras.callbacks.History`, with the loss before the first iteration and after each.

    Raises:
        TypeError: if `model` is no Keras model, or the data is not arrays.
        ValueError: if the model is not compiled, or runs on several replicas, in half precision,
            with constraints, with several optimizers or with an augmentation, or if its loss is
            random.
        FloatingPointError: if the loss is not finite at the start.
        RuntimeError: on another backend than TensorFlow.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import optimizers
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> x = np.random.default_rng(0).normal(size=(50, 2))
    >>> history = optimizers.fit_lbfgs(model, x, x @ [[2.0], [-1.0]] + 3.0)
    >>> bool(history.history["loss"][-1] < 1e-6)
    True

    Reference:
        - [Byrd et al., A Limited Memory Algorithm for Bound Constrained
          Optimization](https://doi.org/10.1137/0916069)
    """
    iterations = checks.integer("iterations", iterations, minimum=1)
    memory = checks.integer("memory", memory, minimum=1)
    tolerance = checks.number("gradient_tolerance", gradient_tolerance, minimum=0)
    objective = FullBatchLoss("fit_lbfgs", model, x, y, sample_weight)
    progress = Progress("fit_lbfgs", objective, iterations, callbacks)
    from scipy.optimize import minimize

    def after_iteration(intermediate_result: Any) -> None:
        objective.write(intermediate_result.x)  # the search may have looked elsewhere since
        if progress.record(intermediate_result.fun):
            raise StopIteration

    result = minimize(
        objective.value_and_gradient,
        objective.read(),
        method="L-BFGS-B",
        jac=True,
        callback=after_iteration,
        options={
            "maxiter": iterations,
            "maxfun": 20 * iterations,
            "maxcor": memory,
            "gtol": tolerance,
            # smaller changes are rounding of the loss
            "ftol": float(np.finfo(keras.config.floatx()).eps),
        },
    )
    objective.write(result.x)
    return progress.finish()
