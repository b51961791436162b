"""Windows of words, compared with a loop over the text."""

import importlib
from collections import Counter

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data needs TensorFlow", allow_module_level=True)

from keras_ssl import data

LENGTHS = np.array([3, 1, 0, 7, 2, 12])
IDS = np.arange(25) % 11


def pairs_of(batches, window):
    """The pairs of centers and contexts that batches stand for, with the places in the row."""
    found = Counter()
    for (x,) in batches.as_numpy_iterator():
        for words, left, right in zip(x["words"], x["left"], x["right"], strict=True):
            for place, (before, after) in enumerate(zip(left, right, strict=True)):
                center = place + window
                for other in range(center - before, center + after + 1):
                    if other != center:
                        found[words[center], words[other]] += 1
    return found


def pairs_by_loop(lines, window):
    found = Counter()
    for line in lines:
        for i, center in enumerate(line):
            for j in range(max(0, i - window), min(len(line), i + window + 1)):
                if i != j:
                    found[center, line[j]] += 1
    return found


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("centers", "window"), [(25, 2), (4, 3), (1, 5)])
def test_pairs_are_those_of_a_loop_over_lines(centers, window, shuffle):
    options = {"subsample": None, "shrink": False, "shuffle": shuffle, "batch_size": 1}
    text = data.word_windows(IDS, LENGTHS, window, centers=centers, seed=0, **options)
    assert len(text) == len(list(text)) == -(-25 // centers) - (centers == 4)  # rounded
    lines = np.split(IDS, np.cumsum(LENGTHS)[:-1])
    expected = pairs_by_loop(lines, window)
    found = pairs_of(text, window)
    if centers != 4:
        assert found == expected
    else:  # the row that rounding leaves out
        assert not found - expected


def test_blocks_hold_all_pairs_but_those_across_their_ends(monkeypatch):
    module = importlib.import_module("keras_ssl.data.words.word_windows")
    monkeypatch.setattr(module, "_BLOCK", 10)
    rows = module._Rows(IDS.astype("int32"), LENGTHS, np.ones(11, "float32"), 2, 5, False, True)
    import tensorflow as tf

    number = tf.constant(5, tf.int64)
    blocks = [rows.rows(number, tf.constant(turn, tf.int64)) for turn in range(6)]
    line = np.repeat(np.arange(6), LENGTHS)
    parts = [IDS[(line == i) & (np.arange(25) // 10 == b)] for b in range(3) for i in range(6)]
    for turns in (blocks[:3], blocks[3:]):  # two passes over the text
        found = pairs_of(_Batches(turns), 2)
        assert found == pairs_by_loop(parts, 2)


class _Batches(list):
    def as_numpy_iterator(self):
        return iter([({name: one.numpy() for name, one in x.items()},) for x in self])


def test_frequent_words_are_left_out_as_often_as_word2vec_does():
    rng = np.random.default_rng(0)
    ids = rng.choice(4, size=200_000, p=[0.6, 0.3, 0.09, 0.01])
    settings = {"batch_size": 50, "centers": 40, "window": 1, "subsample": 0.02, "seed": 3}
    text = data.word_windows(ids, [100] * 2000, **settings)
    centers = [x["words"][:, 1:-1].ravel() for (x,) in text.as_numpy_iterator()]
    found = np.bincount(np.concatenate(centers), minlength=4) / np.bincount(ids)
    share = np.bincount(ids) / len(ids)
    expected = np.minimum(np.sqrt(0.02 / share) + 0.02 / share, 1)
    np.testing.assert_allclose(found, expected, rtol=0.05)
    assert abs(len(text) * 50 * 40 - (expected * np.bincount(ids)).sum()) < 2000


def test_windows_have_all_sizes_equally_often():
    text = data.word_windows(np.zeros(40_000, int), [40_000], window=4, subsample=None, seed=1)
    epoch = [x for (x,) in text.as_numpy_iterator()]
    left, right = (np.concatenate([x[side].ravel() for x in epoch]) for side in ("left", "right"))
    # but at the ends of the text
    assert np.count_nonzero(left != right) <= 8
    shares = np.bincount(left, minlength=5)[1:] / len(left)
    np.testing.assert_allclose(shares, 0.25, atol=0.02)


def test_epochs_differ_and_seeds_repeat():
    def epochs(seed):
        text = data.word_windows(IDS, LENGTHS, window=3, batch_size=2, centers=3, seed=seed)
        return [[x["words"] for (x,) in text.as_numpy_iterator()] for _ in range(2)]

    first, second = epochs(1)
    again, other = epochs(1), epochs(2)
    np.testing.assert_array_equal(again[0], first)
    np.testing.assert_array_equal(again[1], second)
    assert not np.array_equal(first, second) and not np.array_equal(first, other[0])


def test_counts_of_a_larger_text_decide_what_is_left_out():
    options = {"batch_size": 1, "centers": 5, "seed": 0, "window": 1}
    rare = data.word_windows([0, 1] * 50, [100], counts=[50, 50, 10**6], **options)
    assert len(rare) == 20  # both words are rare in the larger text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"ids": [], "lengths": []}, ValueError, "Received: no words"),
        ({"ids": [0, 1], "lengths": [1, 1]}, ValueError, "others in its line.*2 lines of at most"),
        ({"lengths": [24]}, ValueError, "add up to the 25 words.*24 words"),
        ({"ids": [0, -1], "lengths": [2]}, ValueError, "`ids` must not be negative.*-1"),
        ({"ids": [0.0, 1.0], "lengths": [2]}, TypeError, "`ids` must be integers.*float64"),
        ({"ids": [[0, 1]], "lengths": [2]}, ValueError, r"`ids` must be one list.*\(1, 2\)"),
        ({"counts": np.ones(10, int)}, ValueError, "0 to 9.*ids up to 10"),
        ({"window": 0}, ValueError, "`window`"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"centers": 0}, ValueError, "`centers`"),
        ({"subsample": 0}, ValueError, "`subsample`"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        data.word_windows(**{"ids": IDS, "lengths": LENGTHS, **arguments})
