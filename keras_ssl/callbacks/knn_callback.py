"""k-NN accuracy of the representation during training."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ssl.callbacks._epoch_end_measure import EpochEndMeasure
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import Forward
from keras_ssl.evaluate._labels import is_labelled
from keras_ssl.evaluate.knn import check_neighbours, check_votes, knn_accuracy


class KNNCallback(EpochEndMeasure):
    """Log the weighted k-NN accuracy of the representation at the end of epochs.

    The entry `knn_accuracy` appears in the progress bar and in the history, and callbacks later in
    the list can use it: `EarlyStopping(monitor="knn_accuracy", mode="max")`. It is the result of
    `keras_ssl.evaluate.knn_accuracy` for the output of the model, `model(x)`, which is the
    representation for every trainer of keras_ssl. Labels are only used to measure.

    If the features differ less in inference mode than with the statistics of the batch, a warning
    says that the moving statistics of batch normalization lag behind, and what the accuracy would
    be without that; see `keras_ssl.evaluate.recalibrate`.

    Each measurement encodes both sets, so pass a subset of a large training set. For a score that
    you report, `test` must not be the data on which choices (stopping, hyperparameters) were made.

    Args:
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Its examples are the neighbours. Labels are integers or strings;
            examples with the label -1, which means no label, are left out.
        test: labelled data in the same form, whose examples are classified.
        k: number of neighbours that vote.
        temperature: the smaller it is, the more the nearest neighbours count.
        every: measure after the first epoch of `fit`, after every epoch whose number is a multiple
            of this, and after the last. Between measurements the last value is repeated.
        batch_size: examples per batch if the data is arrays.
        teacher: whether to measure the teacher of a trainer with one, `trainer.teacher_encoder`, in
            place of the student. DINO's paper evaluates the teacher. The entry of the logs is then
            `teacher_knn_accuracy`; pass two callbacks for both.

    Raises:
        TypeError: if labels are neither integers nor strings, or `temperature` is not a number.
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
        teacher: bool = False,
    ):
        super().__init__(every)
        check_votes(k, temperature)
        self.train = as_batches(train, "train", batch_size, labelled=True)
        self.test = as_batches(test, "test", batch_size, labelled=True)
        self.k = k
        self.temperature = temperature
        self.teacher = bool(teacher)
        self._name = "teacher_knn_accuracy" if teacher else "knn_accuracy"

    def encoder(self) -> tuple[keras.layers.Layer, Callable[[Any], Any] | None]:
        """Return the model, or its teacher."""
        if not self.teacher:
            return super().encoder()
        if not hasattr(self.model, "teacher_encoder"):
            raise ValueError(
                "`teacher=True` needs a trainer with a teacher, such as `trainers.DINO`. "
                f"Received: {type(self.model).__name__}, which has no `teacher_encoder`"
            )
        return self.model.teacher_encoder, getattr(self.model, "to_encode", None)

    def check(self, forward: Forward) -> None:
        """Raise unless the model takes both sets and `train` has enough examples."""
        # reads no more than it needs, usually one batch
        parts = []
        for x, y in self.train:
            if not parts:
                forward(x)
                self._first = x
            parts.append(y[is_labelled(y)])
            labels = np.concatenate(parts)
            if len(labels) >= self.k and len(np.unique(labels)) > 1:
                break
        check_neighbours(labels, self.k)
        forward(self.test.first()[0])

    def measure(self, forward: Forward) -> dict[str, float]:
        """Return the accuracy by its name in the logs."""
        accuracy = knn_accuracy(forward, self.train, self.test, self.k, self.temperature)
        return {self._name: accuracy}

    def examine(self, epoch: int, numbers: dict[str, float]) -> None:
        """Warn if moving statistics lag behind."""
        lag = None if self._lag_is_known else self._lag_check.find(self._first, self.train)
        if lag is not None:
            by_batch = self.measure(self._lag_check.by_batch)[self._name]
            accuracies = f"{numbers[self._name]:.3f} and {by_batch:.3f}"
            self.warn_of_lag(epoch, f"{lag}. The values of {self._name} are {accuracies}")
