"""k-NN accuracy of the representation during training."""

from typing import Any

import numpy as np

from keras_ssl.callbacks._epoch_end_measure import EpochEndMeasure
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import Forward
from keras_ssl.evaluate.knn import check_neighbours, check_votes, knn_accuracy


class KNNCallback(EpochEndMeasure):
    """Log the weighted k-NN accuracy of the representation at the end of epochs.

    The entry `knn_accuracy` appears in the progress bar and in the history, and callbacks later in
    the list can use it: `EarlyStopping(monitor="knn_accuracy", mode="max")`. It is the result of
    `keras_ssl.evaluate.knn_accuracy` for the output of the model, `model(x)`, which is the
    representation for every trainer of keras_ssl. Labels are only used to measure.

    Each measurement encodes both sets, so pass a subset of a large training set. For a score that
    you report, `test` must not be the data on which choices (stopping, hyperparameters) were made.

    Args:
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Its examples are the neighbours.
        test: labelled data in the same form, whose examples are classified.
        k: number of neighbours that vote.
        temperature: the smaller it is, the more the nearest neighbours count.
        every: measure after the first epoch of `fit`, after every epoch whose number is a multiple
            of this, and after the last. Between measurements the last value is repeated.
        batch_size: examples per batch if the data is arrays.

    Raises:
        TypeError: if labels are not integers, or `temperature` is not a number.
        ValueError: before the first step, if data is empty, endless, not batched or without labels,
            `train` has fewer than `k` examples or only one class, or an argument is out of range.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.callbacks import KNNCallback
    >>> x, y = np.array([[-1.0, 0.0], [1.0, 0.0]] * 8), np.array([0, 1] * 8)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    >>> model.compile(loss="mse")
    >>> history = model.fit(x, x, verbose=0, callbacks=[KNNCallback((x, y), (x, y), k=3)])
    >>> history.history["knn_accuracy"]
    [1.0]

    Reference:
        [Wu et al., 2018](https://arxiv.org/abs/1805.01978), section 3.4
    """

    def __init__(
        self,
        train: Any,
        test: Any,
        k: int = 20,
        temperature: float = 0.1,
        every: int = 1,
        batch_size: int = 256,
    ):
        super().__init__(every)
        check_votes(k, temperature)
        self.train = as_batches(train, "train", batch_size, labelled=True)
        self.test = as_batches(test, "test", batch_size, labelled=True)
        self.k = k
        self.temperature = temperature

    def check(self, forward: Forward) -> None:
        """Raise unless the model takes both sets and `train` has enough examples."""
        # reads no more than it needs, usually one batch
        labels = np.array([], "int64")
        for x, y in self.train:
            if not len(labels):
                forward(x)
            labels = np.concatenate([labels, y])
            if len(labels) >= self.k and len(np.unique(labels)) > 1:
                break
        check_neighbours(labels, self.k)
        forward(self.test.first()[0])

    def measure(self, forward: Forward) -> dict[str, float]:
        """Return `{"knn_accuracy": ...}`."""
        accuracy = knn_accuracy(forward, self.train, self.test, self.k, self.temperature)
        return {"knn_accuracy": accuracy}
