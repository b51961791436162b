"""Moving statistics of batch normalisation, recomputed from data."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl.evaluate._batch_statistics import ObservingForward, normalization_layers
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import ensure_built


def recalibrate(
    encoder: keras.layers.Layer, data: Any, batch_size: int = 256, verbose: int = 0
) -> keras.layers.Layer:
    r"""Set the moving statistics of batch normalization to the average over data.

    In training, batch normalization uses the statistics of each batch; moving averages of them are
    used in inference. They lag behind if there were few steps for the layers' momentum, such as
    0.999 in `keras.applications.MobileNetV2`: the encoder then gives useless features although it
    has learned, until its statistics are recomputed.

    The encoder runs over the data once, with the statistics of each batch. With means $m_b$ and
    variances $v_b$ of a layer's input over the $n_b$ rows of batch b (examples and positions), its
    moving statistics become the mean and variance over all $n = \sum_b n_b$ rows:

    $$m = \frac1n \sum_b n_b m_b, \qquad v = \frac1n \sum_b n_b \left(v_b + (m_b - m)^2\right)$$

    For layers before which there is no other batch normalization, these are exactly the statistics
    of the data, however it is batched. Deeper layers see inputs that are normalized batch by batch,
    as in training, so take batches as large as those of training, and shuffled. Dropout is off.
    Frozen layers (`trainable=False`), and layers that the encoder does not call, keep their
    statistics.

    Args:
        encoder: a `keras.Model` or Keras layer, which is changed in place; of a trainer,
            `trainer.encoder`.
        data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `x` or `(x, y)`, an array
            `x`, or a tuple of arrays `(x, y)`: the training data, or what is like it, in the scale
            that `encoder` expects. Labels are not used.
        batch_size: examples per batch if `data` is arrays.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        `encoder`.

    Raises:
        TypeError: if `encoder` is not a Keras layer or model.
        ValueError: if it has no batch normalization to recalibrate, or data is empty, infinite or
            not batched, or leads to statistics that are not finite.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    >>> x = np.array([[0.0, 1.0], [4.0, 1.0]], "float32")
    >>> encoder = evaluate.recalibrate(encoder, x)
    >>> encoder.layers[0].moving_mean.numpy(), encoder.layers[0].moving_variance.numpy()
    (array([2., 1.], dtype=float32), array([4., 0.], dtype=float32))

    Reference:
        [Wu & Johnson, Rethinking "Batch" in BatchNorm](https://arxiv.org/abs/2105.07576),
        section 3.2
    """
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(f"`encoder` must be a keras.Model or a Keras layer. Received: {encoder!r}")
    batches = as_batches(data, "data", batch_size)
    ensure_built(encoder, batches)
    layers = normalization_layers(encoder)
    if not layers:
        raise ValueError(
            "`encoder` must have a layer of batch normalization that is not frozen. "
            f"Received: {encoder!r}"
        )
    forward = ObservingForward(encoder)
    bar = keras.utils.Progbar(batches.count, unit_name="batch", verbose=verbose)
    found = {}
    for step, (x, _) in enumerate(batches):
        for number, *moments in forward(x):
            found.setdefault(int(number), []).append(list(map(ops.convert_to_numpy, moments)))
        if verbose:
            bar.update(step + 1)
    statistics = {number: _pooled(*zip(*parts, strict=True)) for number, parts in found.items()}
    for number, (mean, variance) in statistics.items():
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            raise ValueError(
                f"`data` must lead to finite statistics. Received: NaN or infinity in the input "
                f"of `{layers[number].path}`"
            )
    for number, (mean, variance) in statistics.items():
        layers[number].moving_mean.assign(mean)
        layers[number].moving_variance.assign(variance)
        if getattr(layers[number], "renorm", False):
            deviation = np.sqrt(variance + layers[number].epsilon)
            layers[number].moving_stddev.assign(deviation)
    return encoder


def _pooled(means: Any, variances: Any, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance over the rows of all batches, in float64."""
    means, variances = np.asarray(means, "float64"), np.asarray(variances, "float64")
    share = np.asarray(rows, "float64")[:, None]
    share = share / share.sum()
    mean = np.sum(share * means, axis=0)
    return mean, np.sum(share * (variances + np.square(means - mean)), axis=0)
