"""Encoders whose batch normalisation uses the statistics of the batch, and nothing else changes."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl._keras_internals import all_layers
from keras_ssl.evaluate._batches import Batches
from keras_ssl.evaluate._forward import Forward
from keras_ssl.evaluate._replaced_calls import replaced_calls
from keras_ssl.evaluate.spectrum import feature_std

_COLLAPSED = 0.1  # a standard deviation below this is suspicious
_CONSTANT = 0.01  # below this with the statistics of the batch too, nothing lags: data are equal
Observe = Callable[[keras.layers.Layer, Any, Any, Any], None]


def normalization_layers(encoder: Any) -> list[keras.layers.Layer]:
    """Return the batch normalisation of an encoder whose statistics move: those not frozen."""
    if not isinstance(encoder, keras.layers.Layer):
        return []
    kind = keras.layers.BatchNormalization
    return [one for one in all_layers(encoder) if isinstance(one, kind) and one.trainable]


@contextmanager
def batch_statistics(encoder: keras.layers.Layer, observe: Observe | None = None) -> Iterator[None]:
    """Scope in which batch normalisation uses the statistics of its batch, even in inference mode.

    In contrast to training mode, dropout is off, no random number is drawn and no moving statistic
    changes. Frozen layers go on using their moving statistics.

    Args:
        encoder: layer or model.
        observe: called with each such layer, and mean, variance and number of rows of its input.
    """
    layers = normalization_layers(encoder)
    with replaced_calls(layers, lambda layer: _call_by_batch(layer, observe)):
        yield


def _call_by_batch(layer: keras.layers.Layer, observe: Observe | None) -> Callable:
    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        axes = [axis for axis in range(len(x.shape)) if axis != layer.axis % len(x.shape)]
        sizes = [ops.shape(x)[axis] for axis in axes]
        if mask is None:
            weights = ops.ones([1] * len(x.shape), x.dtype)
            rows = ops.cast(ops.prod(ops.convert_to_tensor(sizes)), x.dtype)
        else:
            weights = ops.expand_dims(ops.cast(mask, x.dtype), -1)
            rows = ops.sum(weights)
        share = weights / ops.maximum(rows, 1)
        mean = ops.sum(x * share, axis=axes, keepdims=True)
        variance = ops.sum(ops.square(x - mean) * share, axis=axes)
        mean = ops.reshape(mean, (-1,))
        if observe is not None:
            observe(layer, mean, variance, rows)
        gamma = ops.cast(layer.gamma, x.dtype) if layer.scale else None
        beta = ops.cast(layer.beta, x.dtype) if layer.center else None
        outputs = ops.batch_normalization(
            x, mean, variance, layer.axis, offset=beta, scale=gamma, epsilon=layer.epsilon
        )
        return ops.cast(outputs, layer.compute_dtype)

    return call


class BatchStatisticsForward(Forward):
    """A function from batches to features, with the statistics of each batch."""

    def _features(self, x: Any) -> Any:
        with batch_statistics(self._encoder):
            return super()._features(x)


class ObservingForward(Forward):
    """A function from batches to the statistics of each layer of batch normalisation.

    Returns a list of `(number of the layer, mean, variance, rows)`, in the order of the calls.
    """

    def _features(self, x: Any) -> list:
        found = []
        numbers = {id(one): i for i, one in enumerate(normalization_layers(self._encoder))}

        def observe(layer: Any, mean: Any, variance: Any, rows: Any) -> None:
            found.append((ops.convert_to_tensor(numbers[id(layer)]), mean, variance, rows))

        with batch_statistics(self._encoder, observe):
            super()._features(x)
        return found


class LagCheck:
    """Finds outputs that are nearly equal in inference mode only, since moving statistics lag.

    Args:
        model: the model whose call is the representation. If it has `monitored_outputs`, such as
            the projections of a trainer, these are compared too.
        forward: its `Forward` in inference mode.
        prepare: as in `Forward`.
    """

    def __init__(self, model: Any, forward: Forward, prepare: Callable | None = None):
        self._model = model
        self._forward = forward
        self.applies = bool(normalization_layers(model))
        self.by_batch = BatchStatisticsForward(model, prepare)

    def find(self, x: Any, batches: Batches | None = None) -> str | None:
        """Return a description of the lag, if the outputs for a batch show it.

        Args:
            x: the batch.
            batches: all data, if it may be sorted by class: outputs for a batch of one class are
                nearly equal without any lag. It is read only if those for `x` are.
        """
        if not self.applies:
            return None
        moving = self._spreads(self._forward(x))
        with batch_statistics(self._model):
            by_batch = self._spreads(self.by_batch(x))
        lagging = _lagging(moving, by_batch)
        if lagging is not None and batches is not None:
            features = [self._forward(one) for one, _ in batches]
            moving = self._spreads(ops.concatenate(features, axis=0))
            lagging = _lagging(moving, by_batch)
        return lagging and describe_lag(lagging, moving[lagging], by_batch[lagging])

    def _spreads(self, features: Any) -> dict[str, float]:
        outputs = getattr(self._model, "monitored_outputs", None)
        vectors = {"feature_std": features}
        if outputs is not None:
            of_loss = outputs(features)
            vectors |= {f"feature_std of the {name}": one for name, one in of_loss.items()}
        found = {}
        for name, one in vectors.items():
            one = np.asarray(keras.ops.convert_to_numpy(one), "float32")
            one = one.reshape(len(one), -1)
            if len(one) > 1 and np.isfinite(one).all():
                found[name] = float(feature_std(one).mean())
        return found


def _lagging(moving: dict[str, float], by_batch: dict[str, float]) -> str | None:
    """Return the name of the first spread that is much smaller with moving statistics."""
    for name in (one for one in moving if one in by_batch):
        if by_batch[name] > _CONSTANT and moving[name] < 0.5 * by_batch[name]:
            return name
    return None


def looks_collapsed(features: np.ndarray) -> bool:
    """Return whether features are nearly equal for all examples, or not finite."""
    is_finite = len(features) > 1 and np.isfinite(features).all()
    return not (is_finite and feature_std(features).mean() > _COLLAPSED)


def warn_of_lag(forward: Forward, batches: Batches, features: np.ndarray) -> None:
    """Warn, once for a `Forward`, if features look collapsed because moving statistics lag behind.

    Args:
        forward: function from batches to features.
        batches: the data.
        features: features of all examples. Those of a batch may be nearly equal since the data are
            sorted by class. Only if these look collapsed is more computed.
    """
    forward.may_lag = False
    if not looks_collapsed(features):
        return
    lag = LagCheck(forward.encoder, forward).find(batches.first()[0])
    if lag is not None:
        warnings.warn(f"`encoder`: {lag}.", stacklevel=4)


def describe_lag(name: str, of_moving: float, of_batch: float) -> str:
    """Say that moving statistics lag behind, with the remedy."""
    if name in ("feature_std", "effective_rank"):
        remedy = (
            "Losses of validation and accuracies are therefore worse than what has been learned. "
            "Recompute the statistics by `keras_ssl.evaluate.recalibrate(encoder, data)`, lower "
            "the `momentum` of these layers, or train for more steps"
        )
    else:
        remedy = (
            "Losses of validation are therefore worse than what has been learned. Lower the "
            "`momentum` of these layers behind the encoder, or train for more steps"
        )
    return (
        f"the moving statistics of batch normalization lag behind: {name} is {of_moving:.2g} in "
        f"inference mode, which uses them, and {of_batch:.2g} with the statistics of the batch, as "
        f"in training. {remedy}"
    )
