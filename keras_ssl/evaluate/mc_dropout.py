"""Predictions with dropout left on, and how far they differ."""

import numbers
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import entr, expit, softmax

from keras_ssl import checks
from keras_ssl._keras_internals import all_layers
from keras_ssl.evaluate._batches import as_batches, is_graph, rows_of
from keras_ssl.evaluate._forward import Forward, as_input, ensure_built
from keras_ssl.evaluate._replaced_calls import replaced_calls
from keras_ssl.layers import DropPath, MultiHeadAttention
from keras_ssl.layers.graph import GATConv, GATv2Conv
from keras_ssl.trainers.engine.evaluation_seeds import EvaluationSeeds

_TASKS = ("classification", "regression")
_LAYERS = (
    keras.layers.Dropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    DropPath,
)
# layers that drop within their own `call`, and nothing else in training mode
_LAYERS_WITH_DROPOUT = (
    GATConv,
    GATv2Conv,
    MultiHeadAttention,
    keras.layers.Attention,
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
    keras.layers.GRU,
    keras.layers.GRUCell,
    keras.layers.LSTM,
    keras.layers.LSTMCell,
    keras.layers.SimpleRNN,
    keras.layers.SimpleRNNCell,
)
_RATES = ("rate", "dropout", "dropout_rate", "recurrent_dropout", "input_dropout_rate")


def mc_dropout(
    model: keras.layers.Layer,
    x: Any,
    samples: int = 50,
    batch_size: int = 256,
    task: str = "classification",
    from_logits: bool = False,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, np.ndarray]:
    r"""Predict many times with dropout left on (Monte-Carlo dropout), and say how far this differs.

    Each of T predictions $p_t$ has dropout masks of its own. Their mean approximates the prediction
    of a Bayesian network, and their spread how uncertain its weights are, which is large for
    inputs that are unlike the training data. For a classifier with classes k, the entropy of the
    mean is its whole uncertainty; the mutual information of class and weights (BALD) is the part
    that more data could take away:

    $$H = -\sum_k \bar p_k \log \bar p_k, \qquad
    I = H + \frac1T \sum_t \sum_k p_{tk} \log p_{tk}$$

    The model is called in inference mode, except for its layers of dropout: batch normalization
    uses its moving statistics, layers of augmentation or noise do nothing, and no state changes.
    The layers of dropout are Keras' (`Dropout`, `SpatialDropout2D`, `GaussianDropout`,
    `AlphaDropout`), `keras_ssl.layers.DropPath`, layers derived from these, and the dropout of
    attention and recurrent layers, wherever they are in the model. A layer of yours that calls
    `keras.random.dropout` itself is not known: give it a `keras.layers.Dropout`.

    Args:
        model: a `keras.Model` or Keras layer that returns one tensor.
        x: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `x` or `(x, y)`, an array, or a
            tuple of arrays `(x, y)`, in the scale that the model expects. Labels are left aside.
        samples: T, at least 2.
        batch_size: examples per batch if `x` is arrays.
        task: `"classification"`, for outputs `(batch, ..., classes)` with the probabilities of
            classes, or `(batch, ..., 1)` with that of the second of two; or `"regression"`, for
            outputs of any kind.
        from_logits: whether the outputs of a classifier are logits. All results are then of
            their probabilities.
        seed: integer seed of the masks, at least 0. They also depend on how `x` is batched.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        Dictionary of float32 arrays: `"mean"` and `"std"`, the mean and the standard deviation
        (the root of the mean squared difference) of the predictions, shaped as these; for a
        classifier also `"entropy"` and `"mutual_information"` in nats, shaped as these without the
        last axis. The noise of targets in a regression is not part of `"std"`.

    Raises:
        TypeError: if `model` is not a Keras model or layer or does not return one tensor.
        ValueError: if the model has no dropout, `x` is empty, infinite or not batched, `task` is
            unknown, or outputs of a classifier are not probabilities.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> model = keras.Sequential(
    ...     [keras.layers.Dropout(0.5), keras.layers.Dense(1, kernel_initializer="ones")]
    ... )
    >>> x = np.array([[1.0, 1.0], [3.0, 4.0]], "float32")
    >>> found = evaluate.mc_dropout(model, x, samples=500, task="regression")
    >>> np.abs(found["mean"][:, 0] - [2, 7]) < 1  # the standard deviations are √2 and 5
    array([ True,  True])
    >>> np.round(found["std"][:, 0])
    array([1., 5.], dtype=float32)

    Reference:
        - [Gal & Ghahramani, Dropout as a Bayesian Approximation](https://arxiv.org/abs/1506.02142)
        - [Houlsby et al., Bayesian Active Learning for Classification and Preference
          Learning](https://arxiv.org/abs/1112.5745), for the mutual information
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a keras.Model or a Keras layer. Received: {model!r}")
    if task not in _TASKS:
        raise ValueError(f"`task` must be one of {list(_TASKS)}. Received: task={task!r}")
    samples = checks.integer("samples", samples, minimum=2)
    seed = checks.integer("seed", seed, minimum=0) % 2**32
    batches = as_batches(x, "x", batch_size)
    ensure_built(model, batches)
    forward = _DropoutForward(model)
    bar = keras.utils.Progbar(batches.count, unit_name="batch", verbose=verbose)
    found = []
    with _seeds(model, seed):
        for step, (batch, _) in enumerate(batches):
            summary = _Summary(task, from_logits)
            for _ in range(samples):
                summary.add(_outputs(forward, batch))
            found.append(summary.results())
            if verbose:
                bar.update(step + 1)
    results = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    if not results["std"].any():
        warnings.warn(
            "`mc_dropout` found no differences between predictions: the dropout of `model` has no "
            "effect on its output for this data.",
            stacklevel=2,
        )
    return results


class _DropoutForward(Forward):
    """A function from batches to the outputs of a model with dropout left on."""

    def __init__(self, model: keras.layers.Layer):
        super().__init__(model)
        self._dropout = [one for one in all_layers(model) if _drops(one)]
        if not self._dropout:
            raise ValueError(
                "`model` must have dropout with a rate above 0, such as `keras.layers.Dropout`. "
                f"Received: {model!r}"
            )

    def _features(self, x: Any) -> Any:
        with replaced_calls(self._dropout, _in_training_mode):
            outputs = self._encoder(as_input(x), training=False)
        if isinstance(outputs, (dict, list, tuple)):
            raise TypeError(
                "`model` must return one tensor; wrap it in a keras.Model that returns one of its "
                f"outputs. Received: a {type(outputs).__name__} of {len(outputs)}"
            )
        return ops.cast(outputs, "float32")


def _drops(layer: keras.layers.Layer) -> bool:
    """Return whether a layer sets some of its values to zero, or scales them, in training."""
    if not isinstance(layer, _LAYERS + _LAYERS_WITH_DROPOUT):
        return False
    rates = [getattr(layer, name, 0) for name in _RATES]
    return any(isinstance(one, numbers.Real) and one > 0 for one in rates)


def _in_training_mode(layer: keras.layers.Layer) -> Callable:
    call = layer.call

    def call_in_training_mode(*args: Any, **kwargs: Any) -> Any:
        return call(*args, **{**kwargs, "training": True})

    return call_in_training_mode


@contextmanager
def _seeds(model: keras.layers.Layer, seed: int) -> Iterator[None]:
    """Scope in which the seed generators of a model start from a seed; theirs come back after."""
    seeds = EvaluationSeeds(model, seed)
    seeds.fix()
    try:
        yield
    finally:
        seeds.restore()


def _outputs(forward: Forward, x: Any) -> np.ndarray:
    outputs = ops.convert_to_numpy(forward(x)).astype("float64")
    if outputs.ndim == 0 or (len(outputs) != rows_of(x) and not is_graph(x)):
        raise ValueError(
            "`model` must return one row of outputs per example. Received: shape "
            f"{outputs.shape} for {rows_of(x)} examples"
        )
    return outputs


class _Summary:
    """Means over samples of one batch, in float64, of which no sample is kept.

    Args:
        task: as in `mc_dropout`.
        from_logits: as in `mc_dropout`.
    """

    def __init__(self, task: str, from_logits: bool):
        self._is_classifier = task == "classification"
        self._from_logits = from_logits
        self._count = 0
        self._mean = self._squares = self._entropies = 0.0

    def add(self, outputs: np.ndarray) -> None:
        """Add a prediction."""
        if self._is_classifier:
            outputs = self._probabilities(outputs)
            self._entropies = self._entropies + _entropy(outputs)
        self._count += 1
        difference = outputs - self._mean
        self._mean = self._mean + difference / self._count
        self._squares = self._squares + difference * (outputs - self._mean)

    def _probabilities(self, outputs: np.ndarray) -> np.ndarray:
        if outputs.ndim == 1:
            raise ValueError(
                "A classifier must return shape (batch, ..., classes), or (batch, ..., 1) for two "
                f"classes. Received: shape {outputs.shape}"
            )
        if self._from_logits:
            return expit(outputs) if outputs.shape[-1] == 1 else softmax(outputs, axis=-1)
        sums = outputs.sum(axis=-1) if outputs.shape[-1] > 1 else np.ones(1)
        # half precision leaves about three digits
        if outputs.min() < 0 or outputs.max() > 1.01 or np.abs(sums - 1).max() > 0.01:
            raise ValueError(
                "The outputs of a classifier must be probabilities. Pass `from_logits=True` for "
                "logits, or `task='regression'` for anything else. Received: outputs from "
                f"{outputs.min():.3g} to {outputs.max():.3g}, with sums from {sums.min():.3g} to "
                f"{sums.max():.3g}"
            )
        return np.minimum(outputs, 1)

    def results(self) -> dict[str, np.ndarray]:
        """Return what `mc_dropout` returns, of this batch."""
        found = {"mean": self._mean, "std": np.sqrt(self._squares / self._count)}
        if self._is_classifier:
            found["entropy"] = _entropy(self._mean)
            # rounding may make it negative
            of_weights = np.maximum(found["entropy"] - self._entropies / self._count, 0)
            found["mutual_information"] = of_weights
        return {name: one.astype("float32") for name, one in found.items()}


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    if probabilities.shape[-1] == 1:
        return (entr(probabilities) + entr(1 - probabilities))[..., 0]
    return entr(probabilities).sum(axis=-1)
