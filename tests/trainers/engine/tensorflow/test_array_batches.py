"""Tests of batches of arrays."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("batches of arrays need the TensorFlow backend", allow_module_level=True)

from keras_ssl.trainers.engine.tensorflow.array_batches import array_batches  # noqa: E402


def passes(dataset, count=2):
    return [[np.asarray(batch) for batch in dataset] for _ in range(count)]


def test_rows_stay_together_and_in_order(rng):
    x, y = rng.normal(size=(10, 3)).astype("float32"), np.arange(10)
    batches = list(array_batches({"x": x, "labels": [y, (y, x)]}, 4))
    assert [len(batch["x"]) for batch in batches] == [4, 4, 2]
    for key in (lambda b: b["x"], lambda b: b["labels"][1][1]):
        np.testing.assert_array_equal(np.concatenate([key(b) for b in batches]), x)
    np.testing.assert_array_equal(np.concatenate([b["labels"][0] for b in batches]), y)


def test_every_pass_is_shuffled_anew_and_has_every_example_once():
    first, second = passes(array_batches(np.arange(100), 8, shuffle=True, seed=3))
    for one in (first, second):
        assert sorted(np.concatenate(one)) == list(range(100))
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))


def test_order_is_determined_by_the_seed():
    orders = [
        np.concatenate(list(array_batches(np.arange(64), 8, True, seed).repeat(2)))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize(
    ("examples", "drop", "size"), [(8, False, 4), (9, True, 4), (9, False, None)]
)
def test_batch_size_is_static_if_all_batches_are_full(examples, drop, size):
    dataset = array_batches(np.zeros((examples, 2)), 4, drop_remainder=drop)
    assert tuple(dataset.element_spec.shape) == (size, 2)
    assert int(dataset.cardinality()) == (3 if size is None else 2)


def test_floats_are_cast_to_floatx_and_integers_are_kept():
    dataset = array_batches((np.zeros((4, 2), "float64"), np.zeros(4, "uint8")), 2)
    assert [spec.dtype.name for spec in dataset.element_spec] == ["float32", "uint8"]
