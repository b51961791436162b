import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data needs TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_ssl import text
from keras_ssl.text.token_windows import _random_starts


def windows_of(data):
    batches = list(data.as_numpy_iterator())
    return {name: np.concatenate([one[name] for one in batches]) for name in batches[0]}


@pytest.mark.parametrize("total", [1, 5, 8, 9, 57, 64])
@pytest.mark.parametrize("length", [5, 8])
def test_consecutive_windows_predict_every_token_once(total, length):
    tokens = np.arange(100, 100 + total)
    batch = windows_of(text.token_windows(tokens, length, 4, stride=length - 1))
    ids, mask = batch["token_ids"], batch["padding_mask"]
    assert ids.dtype == np.int32 and ids.shape[1] == length
    assert ids[:, 1:][mask[:, 1:]].tolist() == tokens[1:].tolist()
    np.testing.assert_array_equal(mask, ids != 0)
    full = windows_of(text.token_windows(tokens, length, 4))
    assert full["token_ids"][full["padding_mask"]].tolist() == tokens.tolist()


def test_without_a_mask_only_full_windows_are_given():
    data = text.token_windows(np.arange(30), 7, 2, stride=3, padding_mask=False)
    (ids,) = windows_of(data).values()
    expected = np.lib.stride_tricks.sliding_window_view(np.arange(30), 7)[::3]
    np.testing.assert_array_equal(ids, expected)


def test_random_windows_start_anywhere_and_once_in_each_stretch():
    data, again = (
        text.token_windows(np.arange(1000), 9, 16, stride=8, random=True, seed=0) for _ in range(2)
    )
    epochs = [windows_of(data) for _ in range(2)]
    for batch in epochs:
        np.testing.assert_array_equal(np.diff(batch["token_ids"], axis=1), 1)
        assert batch["padding_mask"].all()
    starts = [batch["token_ids"][:, 0] for batch in epochs]
    assert len(starts[0]) == 124 and not np.array_equal(*starts)
    # 992 places in 124 stretches
    assert sorted(starts[0] // 8) == sorted(starts[1] // 8) == list(range(124))
    assert starts[0].max() < 992 and (np.diff(starts[0]) < 0).any()
    iter(again)  # a resumed run makes the iterators of earlier epochs
    np.testing.assert_array_equal(windows_of(again)["token_ids"][:, 0], starts[1])


def test_random_places_are_equally_frequent():
    _, start_of = _random_starts(places=90, count=9, seed=None)
    stretch, within = (one.ravel() for one in np.meshgrid(range(9), range(9)))
    counts = np.bincount(start_of(tf.constant(stretch), tf.constant(within)), minlength=90)
    assert counts.shape == (90,) and counts.max() == 1 and counts.sum() == 81
    _, start_of = _random_starts(places=30, count=15, seed=None)
    stretch, within = (one.ravel() for one in np.meshgrid(range(15), range(15)))
    counts = np.bincount(start_of(tf.constant(stretch), tf.constant(within)))
    assert counts.shape == (30,) and set(counts) == {7, 8}


def test_shapes_are_static_and_one_window_is_enough():
    data = text.token_windows(
        np.arange(4, dtype="uint16"), 4, 1, random=True, drop_remainder=True, padding_mask=False
    )
    assert data.element_spec["token_ids"].shape == (1, 4)
    assert windows_of(data)["token_ids"].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tokens": "to be"}, TypeError, "`tokens` must be integers"),
        ({"tokens": np.zeros(9)}, TypeError, "`tokens` must be integers"),
        ({"tokens": np.zeros((2, 9), int)}, TypeError, "of shape .tokens"),
        ({"tokens": [-1]}, ValueError, "Received: the id -1"),
        ({"tokens": []}, ValueError, "at least 1 for a window. Received: 0 tokens"),
        ({"tokens": [1, 2], "random": True}, ValueError, "at least 4 for a window"),
        ({"tokens": [1, 2], "padding_mask": False}, ValueError, "at least 4 for a window"),
        ({"stride": 5}, ValueError, "`stride` must be at most `length`, 4"),
        ({"length": 0}, ValueError, "`length` must be a positive integer"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
        ({"seed": -1, "random": True}, ValueError, "`seed` must be an integer of at least 0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        text.token_windows(**{"tokens": np.arange(9), "length": 4, "batch_size": 2, **arguments})
