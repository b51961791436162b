"""Arrays as batches: each row once in a pass, orders from the seed alone."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("the JAX backend's engine", allow_module_level=True)

from keras_ssl.trainers.engine.jax._array_batches import ArrayBatches


def epochs(data, count):
    """The rows of each pass, as Keras reads them."""
    for _ in range(count):
        data.on_epoch_begin()
        yield np.concatenate([data[number][0] for number in range(len(data))]).tolist()


def test_orders_of_epochs_differ_and_follow_from_the_seed():
    first = list(epochs(ArrayBatches((np.arange(10),), 4, seed=3), 3))
    assert all(sorted(one) == list(range(10)) for one in first)
    assert len({tuple(one) for one in first}) == 3
    assert first == list(epochs(ArrayBatches((np.arange(10),), 4, seed=3), 3))
    assert first != list(epochs(ArrayBatches((np.arange(10),), 4, seed=4), 3))


def test_epochs_that_are_not_read_count():
    expected = list(epochs(ArrayBatches((np.arange(10),), 4, seed=3), 3))[2]
    resumed = ArrayBatches((np.arange(10),), 4, seed=3)
    resumed.on_epoch_begin()
    resumed.on_epoch_begin()
    assert list(epochs(resumed, 1)) == [expected]


def test_without_seed_rows_stay_in_order_and_floats_are_of_keras():
    data = ArrayBatches(([np.arange(5.0), {"a": np.arange(5)}],), 2)
    (x, rest) = data[2][0]
    assert (x.tolist(), rest["a"].tolist(), x.dtype.name) == ([4.0], [4], "float32")
    assert [spec.shape for spec in keras.tree.flatten(data.specs)] == [(None,), (None,)]


def test_remainder_is_dropped():
    data = ArrayBatches((np.arange(10),), 4, drop_remainder=True)
    assert len(data) == 2 and data.specs[0].shape == (4,)
