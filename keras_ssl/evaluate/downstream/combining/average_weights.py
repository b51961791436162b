"""Weights of several models averaged into one."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_ssl._copying import copy_layer
from keras_ssl.evaluate._batch_statistics import normalization_layers
from keras_ssl.evaluate.recalibrate import recalibrate


def average_weights(
    models: Sequence[keras.layers.Layer],
    weights: Sequence[float] | None = None,
    data: Any = None,
    batch_size: int = 256,
) -> keras.layers.Layer:
    r"""Make a model whose weights are the average of those of several models.

    With the weights $\theta_m$ of model m, it has $\sum_m w_m \theta_m$, and costs at inference
    what one model costs. That it predicts well is known of models that were trained from the same
    weights: fine-tuned with other settings or seeds, or checkpoints of one training. Those of
    models from other initial weights do not fit each other.

    Args:
        models: built Keras models or layers of one architecture, which are not changed.
        weights: positive numbers, one for each model, which are divided by their sum; some may be
            0. `None` means equal ones, the uniform soup.
        data: training data for `keras_ssl.evaluate.recalibrate`, if the model has batch
            normalization: the average of moving statistics is not what the averaged weights lead
            to. `None` keeps the average.
        batch_size: examples per batch if `data` is arrays.

    Returns:
        A copy of the first model with the average of all floating-point weights, in float64 until
        they are assigned. Integers, such as the state of a seed, are those of the first.

    Raises:
        TypeError: if `models` are not Keras layers.
        ValueError: if there are none, they are not built or not of one architecture, or `weights`
            or `data` do not fit.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> models = [keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]) for _ in range(2)]
    >>> for value, model in enumerate(models):
    ...     model.set_weights([np.full((1, 1), 2.0 * value), np.full(1, 4.0)])
    >>> [float(one.squeeze()) for one in evaluate.average_weights(models).get_weights()]
    [1.0, 4.0]

    Reference:
        - [Wortsman et al., Model Soups](https://arxiv.org/abs/2203.05482)
        - [Izmailov et al., Averaging Weights Leads to Wider Optima and Better
          Generalization](https://arxiv.org/abs/1803.05407), section 3.2, for batch normalization
    """
    models = list(models) if isinstance(models, (list, tuple)) else models
    if not isinstance(models, list) or not all(isinstance(m, keras.layers.Layer) for m in models):
        raise TypeError(
            f"`models` must be a list of Keras models or layers. Received: models={models!r}"
        )
    if not models:
        raise ValueError("`models` must hold at least one model. Received: none")
    difference = architecture_difference(models)
    if difference:
        raise ValueError(f"`models` must be built, and of one architecture. Received: {difference}")
    shares = np.ones(len(models)) if weights is None else np.asarray(weights, "float64")
    if shares.shape != (len(models),) or not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
        raise ValueError(
            f"`weights` must be {len(models)} numbers of at least 0, not all 0. "
            f"Received: weights={weights!r}"
        )
    shares = shares / shares.sum()
    averaged = copy_layer(models[0])
    for variable, *parts in zip(averaged.weights, *(m.weights for m in models), strict=True):
        if keras.backend.is_float_dtype(variable.dtype):
            values = [keras.ops.convert_to_numpy(part).astype("float64") for part in parts]
            variable.assign(sum(share * one for share, one in zip(shares, values, strict=True)))
    if data is not None and normalization_layers(averaged):
        recalibrate(averaged, data, batch_size)
    return averaged


def architecture_difference(models: Sequence[keras.layers.Layer]) -> str:
    """Return in which way models are not built or not of one architecture, or `""`."""
    for number, model in enumerate(models):
        if not model.built:
            return f"model {number} is not built: call it on data first"
        if type(model) is not type(models[0]):
            return (
                f"model 0 is a {type(models[0]).__name__}, model {number} a {type(model).__name__}"
            )
        shapes = [[tuple(weight.shape) for weight in one.weights] for one in (models[0], model)]
        if len(shapes[0]) != len(shapes[1]):
            return f"model 0 has {len(shapes[0])} weights, model {number} {len(shapes[1])}"
        for place, (first, other) in enumerate(zip(*shapes, strict=True)):
            if first != other:
                path = models[0].weights[place].path
                return f"`{path}` of model 0 has shape {first}, of model {number} {other}"
    return ""
