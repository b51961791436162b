"""Epochs of equally frequent classes, read by plain loops, and in `fit` with interruptions."""

import contextlib

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data needs TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_ssl import callbacks, data, trainers

COUNTS = {0: 11, 2: 4, 5: 3, 7: 1}
LABELS = np.random.default_rng(0).permutation(np.repeat(list(COUNTS), list(COUNTS.values())))
NUMBERS = np.arange(19)


def rows_of(examples):
    """The numbers of the examples of an epoch."""
    return np.concatenate([x for x, *_ in examples.batch(1000).as_numpy_iterator()])


def test_an_epoch_holds_the_largest_class_once_and_others_as_often_as_equal():
    examples = data.equalise_classes((NUMBERS, LABELS), seed=0)
    for _ in range(3):
        rows = rows_of(examples)
        assert len(rows) == len(examples) == 44
        times = np.bincount(rows, minlength=19)
        for one, count in COUNTS.items():
            of_class = times[one == LABELS]
            assert of_class.sum() == 11
            # each is seen again only when all have been seen
            assert set(of_class) <= {11 // count, -(-11 // count)}


def test_smaller_classes_go_round_in_new_orders():
    examples = data.equalise_classes((NUMBERS, LABELS), seed=0)
    orders = set()
    for _ in range(10):
        rows = rows_of(examples)
        for count, one in ((4, 2), (3, 5)):
            of_class = rows[LABELS[rows] == one]
            for start in range(0, 11, count):
                turn = of_class[start : start + count]
                assert len(set(turn)) == len(turn)
                orders.add(tuple(turn))
    # of 24 + 6 whole orders, and shorter ones of the last rounds
    assert len([one for one in orders if len(one) == 4]) > 10
    assert len([one for one in orders if len(one) == 3]) >= 6


def test_batches_hold_every_class_and_orders_have_no_favourites():
    examples = data.equalise_classes((NUMBERS, LABELS), seed=0)
    first, last = [], []
    for rows in rows_of(examples.repeat(200)).reshape(200, 44):
        of_turns = LABELS[rows].reshape(11, 4)
        np.testing.assert_array_equal(np.sort(of_turns), np.tile(list(COUNTS), (11, 1)))
        first.append(rows[0])
        last.append(rows[LABELS[rows] == 2][-3:])  # the last round, which is not full
    # each class comes first in a quarter of the epochs, and each example is left out as often
    _, times = np.unique(LABELS[first], return_counts=True)
    np.testing.assert_allclose(times, 50, atol=25)
    _, times = np.unique(np.concatenate(last), return_counts=True)
    np.testing.assert_allclose(times, 150, atol=28)


def test_the_seed_decides_all_epochs():
    def epochs(seed):
        examples = data.equalise_classes((NUMBERS, LABELS), seed=seed)
        return [rows_of(examples).tolist() for _ in range(2)]

    first = epochs(3)
    assert first == epochs(3)
    assert first != epochs(4)
    assert first[0] != first[1]
    keras.utils.set_random_seed(1)
    without = epochs(None)
    keras.utils.set_random_seed(1)
    assert without == epochs(None)


@pytest.mark.parametrize("form", ["arrays", "structure", "dataset", "column", "weights"])
def test_forms_of_data(form):
    x = NUMBERS if form != "structure" else {"a": NUMBERS, "b": [NUMBERS[:, None], NUMBERS + 1.0]}
    y = LABELS.astype("uint8")
    parts = (x, y[:, None] if form == "column" else y)
    if form == "weights":
        parts = (*parts, NUMBERS / 2)
    given = tf.data.Dataset.from_tensor_slices(parts) if form == "dataset" else parts
    examples = data.equalise_classes(given, seed=0)
    assert len(examples) == 44
    expected = rows_of(data.equalise_classes((NUMBERS, LABELS), seed=0))
    for row, (image, label, *weight) in zip(expected, examples.as_numpy_iterator(), strict=True):
        if form == "structure":
            assert image["a"] == row and image["b"][0].shape == (1,)
            assert image["b"][1] == row + 1.0 and image["b"][1].dtype == np.float64
        else:
            assert image == row
        assert label == y[row] and label.dtype == np.uint8
        assert np.shape(label) == ((1,) if form == "column" else ())
        assert weight == ([row / 2] if form == "weights" else [])


def test_text_and_lists_of_labels():
    files = np.array([f"{one}.png" for one in NUMBERS])
    examples = data.equalise_classes((files, LABELS.tolist()), seed=0)
    names = {x.decode() for x, _ in examples.as_numpy_iterator()}
    assert names == set(files)


class Recorder(keras.Model):
    """Keeps the examples that `fit` brings, in their order."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(8)
        self.rows = []

    def call(self, x):
        return self.dense(keras.ops.cast(x[:, None], "float32"))

    def train_step(self, batch):
        tf.py_function(lambda x: self.rows.append(x.numpy()), [batch[0]], [])
        return {"loss": 0.0}


class DistributedRecorder(trainers.DistributedFit, Recorder):
    pass


def frequencies(rows):
    return np.unique(LABELS[rows], return_counts=True)[1].tolist()


def test_restored_frequency_in_fit():
    batches = data.equalise_classes((NUMBERS, LABELS), seed=0).batch(8)
    model = Recorder()
    model.compile()
    options = {"callbacks": [data.restore_frequency(batches, epochs=2)], "verbose": 0}
    for _ in range(2):  # the second `fit` begins with equal frequencies again
        model.rows.clear()
        model.fit(batches, epochs=5, **options)
        epochs = np.concatenate(model.rows).reshape(5, 44)
        for epoch in epochs[:3]:
            assert frequencies(epoch) == [11] * 4
        for epoch in epochs[3:]:
            # all 19 examples twice, each time in another order, and 6 of them
            turns = np.split(epoch, [19, 38])
            assert sorted(turns[0]) == sorted(turns[1]) == NUMBERS.tolist()
            assert turns[0].tolist() != turns[1].tolist()
            assert len(set(turns[2])) == 6
        assert epochs[3].tolist() != epochs[4].tolist()
    model.rows.clear()
    model.fit(batches, initial_epoch=4, epochs=5, **options)
    assert frequencies(np.concatenate(model.rows)) != [11] * 4


class Stop(keras.callbacks.Callback):
    """Ends the run after some steps, as an interruption would."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        self.steps -= 1
        if not self.steps:
            raise KeyboardInterrupt


@pytest.mark.few(2)
@pytest.mark.parametrize("steps", [15, 8, 21])
def test_an_interrupted_run_sees_what_it_would_have_seen(steps, tmp_path):
    """Stopped in the first epoch of natural frequency, in the one before, and in the last."""

    def run(folder, *others):
        model = DistributedRecorder()
        model.compile("sgd")
        batches = data.equalise_classes((NUMBERS, LABELS), seed=0).batch(8)
        backup = callbacks.BackupAndResume(folder, every_steps=1)
        restore = data.restore_frequency(batches, epochs=2)
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(batches, epochs=4, verbose=0, callbacks=[restore, backup, *others])
        return [one.tolist() for one in model.rows]

    whole = run(tmp_path / "whole")
    assert len(whole) == 24
    first = run(tmp_path / "stopped", Stop(steps))
    assert first == whole[:steps]
    # the last step was not backed up
    assert run(tmp_path / "stopped") == whole[steps - 1 :]


@pytest.mark.parametrize("within", [False, True])
def test_two_replicas_share_the_batches_of_one(two_replicas, within):
    def make():
        return data.equalise_classes((NUMBERS, LABELS), seed=0).batch(4)

    def rows(dataset):
        return np.concatenate([np.asarray(x) for x, _ in dataset])

    expected = rows(make())
    if within:
        with two_replicas.scope():
            batches = make()
    else:
        batches = make()
    restore = data.restore_frequency(batches)
    restore.set_params({"epochs": 2})
    distributed = two_replicas.experimental_distribute_dataset(batches)

    def shared():
        return np.concatenate([np.concatenate(x.values) for x, _ in distributed])

    np.testing.assert_array_equal(shared(), expected)
    restore.on_epoch_begin(1)
    assert frequencies(shared()) != [11] * 4


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (NUMBERS, TypeError, "a tuple of arrays"),
        ((NUMBERS,), ValueError, r"\(x, y\)"),
        ((NUMBERS, LABELS - 1), ValueError, "classes from 0.*a label of -1"),
        ((NUMBERS, LABELS / 1), TypeError, "must be integers"),
        ((NUMBERS, np.eye(19, dtype=int)), ValueError, "argmax"),
        ((NUMBERS[1:], LABELS), ValueError, "one row for each example"),
        ((["a"] * 19, LABELS), TypeError, "must hold arrays. Received: str"),
        ((NUMBERS[:0], LABELS[:0]), ValueError, "at least one example"),
    ],
)
def test_wrong_arrays(given, error, message):
    with pytest.raises(error, match=message):
        data.equalise_classes(given)


def test_wrong_data_sets():
    examples = tf.data.Dataset.from_tensor_slices((NUMBERS, LABELS))
    for given, message in (
        (examples.batch(4), "must not be batched"),
        (examples.repeat(), "must be finite"),
        (examples.map(lambda x, y: x), "must hold examples and labels"),
        (examples.take(0), "at least one example"),
        (examples.map(lambda x, y: (tf.range(x), y)), "must have one shape"),
    ):
        with pytest.raises(ValueError, match=message):
            data.equalise_classes(given)
    with pytest.raises(TypeError, match="`seed`"):
        data.equalise_classes(examples, seed=0.5)


def test_wrong_data_of_restored_frequency():
    examples = data.equalise_classes((NUMBERS, LABELS))
    with pytest.raises(TypeError, match=r"must be a tf.data.Dataset"):
        data.restore_frequency(NUMBERS)
    with pytest.raises(ValueError, match="must come from"):
        data.restore_frequency(tf.data.Dataset.range(3))
    with pytest.raises(ValueError, match="must not cache"):
        data.restore_frequency(examples.batch(4).cache())
    with pytest.raises(ValueError, match="`epochs`"):
        data.restore_frequency(examples, epochs=0)
    model = Recorder()
    model.compile()
    with pytest.raises(ValueError, match="at most the epochs of `fit`, 2"):
        model.fit(
            examples.batch(4), epochs=2, verbose=0, callbacks=[data.restore_frequency(examples, 3)]
        )
