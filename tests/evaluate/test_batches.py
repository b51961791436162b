import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl.evaluate._batches import Batches, as_batches

X = np.arange(20, dtype="float32").reshape(10, 2)
Y = np.arange(10) % 3


class Pairs(keras.utils.PyDataset):
    @property
    def num_batches(self):
        return 4

    def __getitem__(self, index):
        return X[3 * index : 3 * index + 3], Y[3 * index : 3 * index + 3]


def read(data):
    batches = list(Batches(data, "train", batch_size=3))
    x = np.concatenate([np.asarray(x) for x, _ in batches])
    labels = [y for _, y in batches]
    return x, None if labels[0] is None else np.concatenate(labels), len(batches)


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        (X, Y[:, None]),
        (X, Y, np.ones(10)),
        (tf.constant(X), tf.constant(Y)),
        tf.data.Dataset.from_tensor_slices((X, Y)).batch(3),
        tf.data.Dataset.from_tensor_slices((X, Y, np.ones(10))).batch(3),
        Pairs(),
    ],
    ids=["arrays", "column", "weights", "tensors", "dataset", "weighted dataset", "pydataset"],
)
def test_forms_of_data_are_equivalent_and_can_be_read_again(data):
    batches = Batches(data, "train", batch_size=3, labelled=True)
    assert batches.count == 4
    for _ in range(2):
        read_back = [(np.asarray(x), y) for x, y in batches]
        np.testing.assert_array_equal(np.concatenate([x for x, _ in read_back]), X)
        np.testing.assert_array_equal(np.concatenate([y for _, y in read_back]), Y)


@pytest.mark.parametrize(
    "data",
    [X, (X,), (X, None), (X, None, np.ones(10)), tf.data.Dataset.from_tensor_slices(X).batch(3)],
)
def test_without_labels(data):
    x, y, count = read(data)
    np.testing.assert_array_equal(x, X)
    assert y is None
    assert count == 4
    with pytest.raises(ValueError, match="`train` must carry labels"):
        list(Batches(data, "train", labelled=True))


def test_missing_labels_raise_before_reading():
    with pytest.raises(ValueError, match=r"carry labels.*Received: x alone"):
        Batches(tf.data.Dataset.from_tensor_slices(X).batch(3), "train", labelled=True)
    with pytest.raises(ValueError, match="carry labels"):
        Batches(X, "train", labelled=True)


def test_structured_inputs():
    batches = Batches(({"a": X, "b": X + 1}, Y), "train", batch_size=4, labelled=True)
    x, y = batches.first()
    np.testing.assert_array_equal(x["b"], X[:4] + 1)
    np.testing.assert_array_equal(y, Y[:4])


@pytest.mark.parametrize(
    "dataset",
    [
        tf.data.Dataset.from_tensor_slices((np.zeros((10, 28, 28, 1)), Y)),
        tf.data.Dataset.from_tensor_slices((np.zeros((10, 28, 28, 1)), np.eye(10))),
        tf.data.Dataset.from_tensor_slices(Y),
    ],
)
def test_unbatched_dataset(dataset):
    with pytest.raises(ValueError, match=r"`test` must be batched.*batch\(256\).*Received"):
        Batches(dataset, "test")


def test_infinite_dataset():
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(3).repeat()
    with pytest.raises(ValueError, match="`test` must be finite"):
        Batches(dataset, "test")


def test_empty_data():
    with pytest.raises(ValueError, match="at least one example"):
        Batches((X[:0], Y[:0]), "test")
    empty = tf.data.Dataset.from_tensor_slices((X, Y)).batch(3).take(0)
    with pytest.raises(ValueError, match="at least one example"):
        Batches(empty, "test").first()


def test_one_hot_labels():
    with pytest.raises(ValueError, match=r"argmax.*Received: shape \(10, 4\)"):
        Batches((X, np.eye(10, 4, dtype="int32")), "train", labelled=True)


@pytest.mark.parametrize("labels", [Y.astype("float32"), Y > 0, Y.astype("complex64")])
def test_labels_that_are_not_integers(labels):
    with pytest.raises(TypeError, match="`train` must be integers"):
        Batches((X, labels), "train", labelled=True)
    dataset = tf.data.Dataset.from_tensor_slices((X, labels)).batch(3)
    with pytest.raises(TypeError, match="`train` must be integers"):
        Batches(dataset, "train", labelled=True).first()


def test_labels_that_are_strings():
    names = np.array(list("abcdefghij"))
    dataset = tf.data.Dataset.from_tensor_slices((X, names[:, None])).batch(10)
    for data in ((X, names), (X, names.astype(object)), (X, names.astype("S")), dataset):
        _, labels = Batches(data, "train", labelled=True, batch_size=10).first()
        np.testing.assert_array_equal(labels, names)


def test_lengths_differ():
    with pytest.raises(ValueError, match=r"one length. Received: lengths \[10, 9\]"):
        Batches((X, Y[:9]), "train")


@pytest.mark.parametrize("data", ["images", 3, [1, 2], None, (X.tolist(), Y), np.float32(1)])
def test_data_of_another_kind(data):
    with pytest.raises((TypeError, ValueError), match="`train` must be a batched"):
        Batches(data, "train")


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, True])
def test_batch_size(batch_size):
    with pytest.raises((TypeError, ValueError), match="`batch_size`"):
        Batches(X, "train", batch_size)


def test_batches_are_returned_unchanged():
    batches = Batches(X, "train")
    assert as_batches(batches, "test") is batches
