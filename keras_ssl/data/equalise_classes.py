"""Epochs in which all classes are equally frequent, and the return to their own frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.data._reading import is_a, walk
from keras_ssl.data.class_weights import class_of_examples

if TYPE_CHECKING:
    import tensorflow as tf

# examples of a dataset that are read at once
_READ = 1024
# where `restore_frequency` finds the variable of a dataset
_VARIABLE = "_keras_ssl_has_natural_frequency"


def equalise_classes(dataset: Any, seed: int | None = None) -> tf.data.Dataset:
    """Make a data set in whose epochs all classes are equally frequent.

    An epoch ends when each example of the largest class has been seen once. The examples of smaller
    classes go round: when all of a class have been seen, they come again in a new random order. So
    an epoch has as many examples as there are classes times examples of the largest class. Each run
    of as many examples as there are classes holds one of every class, in random order: batches hold
    equally many of each, or one more. All orders are new in every epoch.

    A model that has seen classes equally often takes rare ones for more frequent than they are.
    `keras_ssl.data.restore_frequency` gives the last epochs the frequencies of the data, and
    `keras_ssl.data.class_weights` returns weights instead.

    The examples are kept in memory, and a data set is read once, by this call. If they are too
    large for that, pass the names of their files and read them behind it:
    `equalise_classes((names, labels)).map(read)`. Augment behind it, too, since examples of small
    classes come several times. A `cache` must not come behind it: all epochs would be the first.

    Args:
        dataset: a tuple of arrays `(x, y)` or `(x, y, sample_weight)`, or a finite, unbatched
            `tf.data.Dataset` of the same. `x` may be a structure of arrays. `y` holds labels,
            integers from 0 of shape `(n,)` or `(n, 1)`. Classes that do not occur are left aside.
        seed: integer seed of all orders. `None` takes TensorFlow's global seed, which
            `keras.utils.set_random_seed` sets. Several workers need the same.

    Returns:
        Unbatched `tf.data.Dataset` of the examples as they are, of known length. A resumed run sees
        the order that the interrupted one would have seen.

    Raises:
        TypeError: if `dataset` is neither arrays nor a `tf.data.Dataset`, or labels are not
            integers.
        ValueError: if there are no examples or labels, labels are negative or have another shape,
            arrays have different lengths, or a data set is infinite, batched, or has examples of
            different shapes.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import data
    >>> x, y = np.arange(8), np.array([0, 0, 0, 0, 0, 1, 1, 2])
    >>> examples = data.equalise_classes((x, y), seed=0)
    >>> len(examples)
    15
    >>> np.bincount([label for _, label in examples.as_numpy_iterator()])
    array([5, 5, 5])
    >>> batches = examples.batch(6)
    """
    import tensorflow as tf

    seed = checks.integer("seed", seed, optional=True)
    examples, labels = _read(dataset)
    orders = _Orders(labels)
    with tf.device("CPU:0"):  # the pipeline runs there
        examples = keras.tree.map_structure(tf.convert_to_tensor, examples)
        is_natural = tf.Variable(False, trainable=False)

    def rows(number: tf.Tensor) -> tf.data.Dataset:
        seeds = tf.unstack(tf.random.split(tf.stack([number, 0]), 2))
        order = tf.cond(is_natural, lambda: orders.natural(seeds), lambda: orders.equalised(seeds))
        return tf.data.Dataset.from_tensor_slices(order)

    def example(row: tf.Tensor) -> Any:
        return keras.tree.map_structure(lambda one: tf.gather(one, row), examples)

    # a new number for each iterator: a resumed run makes as many as were made before
    number = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    data = number.flat_map(rows).map(example, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.apply(tf.data.experimental.assert_cardinality(orders.length))
    data = without_autotuning(data)
    setattr(data, _VARIABLE, is_natural)
    return data


def restore_frequency(dataset: tf.data.Dataset, epochs: int = 1) -> keras.callbacks.Callback:
    """Return a callback that gives the last epochs of `fit` the natural frequency of classes.

    A model that is trained on equally frequent classes learns rare ones faster, and then takes them
    for as likely as others. A few last epochs with the frequencies of the data correct that.

    These epochs are as long as the others, so that schedules and logs do not notice: they go
    through all examples, again and again, each time in a new random order. With `steps_per_epoch`,
    the change comes with the next pass through the data.

    Args:
        dataset: what `fit` gets: the result of `keras_ssl.data.equalise_classes`, or what has been
            made of it by `batch`, `map` and so on.
        epochs: how many of the last epochs of `fit`, at least 1. Those after an interruption count
            as if there had been none.

    Returns:
        Callback for `fit` on this data set. After training, its epochs are equalised again; if an
        error ends the training within the last epochs, from the next `fit` with the callback on.

    Raises:
        TypeError: if `dataset` is not a `tf.data.Dataset`.
        ValueError: if it does not come from `equalise_classes`, or caches what comes from it, or
            `epochs` is below 1 or, in `fit`, more than there are.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import data
    >>> x, y = np.eye(8), np.array([0, 0, 0, 0, 0, 1, 1, 2])
    >>> batches = data.equalise_classes((x, y), seed=0).batch(4)
    >>> model = keras.Sequential([keras.layers.Dense(3, "softmax")])
    >>> model.compile("sgd", "sparse_categorical_crossentropy")
    >>> restore = data.restore_frequency(batches, epochs=2)
    >>> history = model.fit(batches, epochs=5, callbacks=[restore], verbose=0)
    """
    import tensorflow as tf

    epochs = checks.integer("epochs", epochs, minimum=1)
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"`dataset` must be a tf.data.Dataset. Received: {dataset!r} of type {type(dataset)}"
        )
    for one in walk(dataset):
        if is_a(one, "Cache"):
            raise ValueError(
                "`dataset` must not cache what `equalise_classes` returns: all epochs would be the "
                "first. Call `cache` before it. Received: a dataset with a cache"
            )
        if hasattr(one, _VARIABLE):
            return _RestoreFrequency(getattr(one, _VARIABLE), epochs)
    raise ValueError(
        "`dataset` must come from `keras_ssl.data.equalise_classes`, by `batch`, `map` and so on. "
        f"Received: {dataset!r}"
    )


class _RestoreFrequency(keras.callbacks.Callback):
    """Tells the pipeline of `equalise_classes` before each epoch which frequency it shall have.

    Args:
        is_natural: the variable that the pipeline reads when an iterator is used first.
        epochs: how many of the last epochs.
    """

    def __init__(self, is_natural: tf.Variable, epochs: int):
        super().__init__()
        self._is_natural = is_natural
        self._epochs = epochs

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check the number of epochs."""
        if self._epochs > self.params["epochs"]:
            raise ValueError(
                "`epochs` of `restore_frequency` must be at most the epochs of `fit`, "
                f"{self.params['epochs']}. Received: epochs={self._epochs}"
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the frequency of this epoch."""
        self._is_natural.assign(epoch >= self.params["epochs"] - self._epochs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Equalise the epochs that follow."""
        self._is_natural.assign(False)


class _Orders:
    """Random orders of the rows of examples, of one length.

    Args:
        labels: the class of each example, integers `(n,)`.
    """

    def __init__(self, labels: np.ndarray) -> None:
        import tensorflow as tf

        _, counts = np.unique(labels, return_counts=True)
        members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
        largest = counts.max()
        rounds = -(-largest // counts)
        sizes = rounds * counts  # of the rounds of a class, of which the last may not be needed
        turns = np.arange(largest)[:, None] + (np.cumsum(sizes) - sizes)
        self.length = turns.size
        self._examples = len(labels)
        with tf.device("CPU:0"):
            self._rows = tf.constant(
                np.concatenate([np.tile(*one) for one in zip(members, rounds, strict=True)])
            )
            # equal within each round of a class, and growing
            self._rounds = tf.constant(
                np.repeat(np.arange(rounds.sum()), np.repeat(counts, rounds)).astype("float64")
            )
            self._turns = tf.constant(turns)

    def equalised(self, seeds: list[tf.Tensor]) -> tf.Tensor:
        """Return rows of which each run of as many as there are classes holds one of each."""
        import tensorflow as tf

        uniform = tf.random.stateless_uniform(self._rows.shape, seeds[0], dtype=tf.float64)
        rows = tf.gather(self._rows, tf.argsort(self._rounds + uniform))
        turns = tf.gather(rows, self._turns)
        uniform = tf.random.stateless_uniform(self._turns.shape, seeds[1], dtype=tf.float64)
        return tf.reshape(tf.gather(turns, tf.argsort(uniform), batch_dims=1), [-1])

    def natural(self, seeds: list[tf.Tensor]) -> tf.Tensor:
        """Return all rows, one round after the other."""
        import tensorflow as tf

        shape = [-(-self.length // self._examples), self._examples]
        uniform = tf.random.stateless_uniform(shape, seeds[0], dtype=tf.float64)
        rows = tf.reshape(tf.argsort(uniform), [-1])[: self.length]
        return tf.cast(rows, self._rows.dtype)


def _read(dataset: Any) -> tuple[tuple, np.ndarray]:
    """Return the examples as a tuple of structures of arrays, and the class of each."""
    import tensorflow as tf

    if isinstance(dataset, tf.data.Dataset):
        dataset = _read_dataset(dataset)
    if not isinstance(dataset, tuple):
        raise TypeError(
            "`dataset` must be a tuple of arrays (x, y) or a tf.data.Dataset. Received: "
            f"{type(dataset).__name__}"
        )
    if len(dataset) not in (2, 3):
        raise ValueError(
            "`dataset` must hold examples and labels, (x, y) or (x, y, sample_weight). Received: "
            f"a tuple of length {len(dataset)}"
        )
    x, y, *weights = dataset
    y = y if hasattr(y, "shape") else np.asarray(y)
    examples = keras.tree.lists_to_tuples((x, y, *weights))  # `tf.data` would stack lists
    labels = class_of_examples(y, "labels", minimum=0)
    leaves = keras.tree.flatten(examples)
    if not all(hasattr(one, "shape") and hasattr(one, "dtype") for one in leaves):
        kinds = [type(one).__name__ for one in leaves if not hasattr(one, "shape")]
        raise TypeError(f"`dataset` must hold arrays. Received: {', '.join(kinds)}")
    lengths = {tuple(one.shape)[:1] for one in leaves}
    if len(lengths) > 1 or () in lengths:
        raise ValueError(
            "The arrays of `dataset` must have one row for each example. Received: shapes "
            f"{[tuple(one.shape) for one in leaves]}"
        )
    if not len(labels):
        raise ValueError("`dataset` must hold at least one example. Received: none")
    return examples, labels


def _read_dataset(dataset: tf.data.Dataset) -> tuple:
    """Return the examples of a dataset as a tuple of structures of arrays."""
    import tensorflow as tf

    spec = dataset.element_spec
    leaves = keras.tree.flatten(spec)
    if not isinstance(spec, tuple) or not all(isinstance(one, tf.TensorSpec) for one in leaves):
        raise ValueError(
            "`dataset` must hold examples and labels, (x, y), as dense tensors. Received: elements "
            f"of {spec}"
        )
    if any(one.shape.rank and one.shape[0] is None for one in keras.tree.flatten(spec[1:2])):
        raise ValueError(
            "`dataset` must not be batched: call `batch` on what `equalise_classes` returns. "
            f"Received: elements of {spec}"
        )
    if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"`dataset` must be finite. Drop `repeat()` or add `take(n)`. Received: {dataset}"
        )
    try:
        batches = list(dataset.batch(_READ).as_numpy_iterator())
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            "The examples of `dataset` must have one shape. Resize them first, or pass the names "
            "of their files and read them behind `equalise_classes`. Received: elements of "
            f"{spec}"
        ) from error
    if not batches:
        raise ValueError("`dataset` must hold at least one example. Received: none")
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
