import json

import keras
import numpy as np
import pytest

from keras_ssl import data

LINES = ["the cat sat", ["the", "cat", "ran"], "", "a dog ran", "the end"]


def test_words_are_counted_and_ordered():
    vocabulary = data.WordVocabulary.from_lines(iter(LINES), min_count=1)
    assert vocabulary.words == ["the", "cat", "ran", "sat", "a", "dog", "end"]
    assert vocabulary.counts.tolist() == [3, 2, 2, 1, 1, 1, 1]
    assert len(vocabulary) == 7 and "dog" in vocabulary and "bird" not in vocabulary
    assert vocabulary.index("ran") == 2
    assert data.WordVocabulary.from_lines(LINES, min_count=2, max_words=2).words == ["the", "cat"]


def test_unknown_words_are_left_out_and_lines_keep_their_number():
    vocabulary = data.WordVocabulary.from_lines(LINES, min_count=2)
    ids, lengths = vocabulary.encode([*LINES, "a bird"])
    assert ids.tolist() == [0, 1, 0, 1, 2, 2, 0] and ids.dtype == np.int32
    assert lengths.tolist() == [2, 3, 0, 1, 1, 0]
    assert [len(one) for one in vocabulary.encode([])] == [0, 0]


def test_serialised_vocabulary_is_the_same():
    vocabulary = data.WordVocabulary.from_lines(LINES, min_count=1)
    text = json.dumps(keras.saving.serialize_keras_object(vocabulary))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert copy.words == vocabulary.words
    np.testing.assert_array_equal(copy.counts, vocabulary.counts)
    assert copy.encode(LINES)[0].tolist() == vocabulary.encode(LINES)[0].tolist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v: v.from_lines([], min_count=1), ValueError, "`lines`.*0 words"),
        (lambda v: v.from_lines(LINES, min_count=9), ValueError, "at least 9 times.*11 words"),
        (lambda v: v.from_lines(LINES, min_count=0), ValueError, "`min_count`"),
        (lambda v: v.from_lines("the cat"), TypeError, "`lines` must be an iterable of lines"),
        (lambda v: v(["a"], [1]).encode("a b"), TypeError, "`lines` must be an iterable of lines"),
        (lambda v: v([], []), ValueError, "no words"),
        (lambda v: v(["a", "b", "a"], [1, 1, 1]), ValueError, "'a' twice"),
        (lambda v: v(["a", 1], [1, 1]), TypeError, "`words` must be strings.*1"),
        (lambda v: v(["a"], [1.0]), TypeError, "`counts` must be integers"),
        (lambda v: v(["a", "b"], [1]), ValueError, "each of the 2 words"),
        (lambda v: v(["a"], [0]), ValueError, "one positive number"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(data.WordVocabulary)


def test_files_of_pairs_and_analogies_are_read(tmp_path):
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("Word1 Word2 score\n# a comment\n\nTiger\tcat\t7.35\nold new 1.58\n")
    assert data.read_word_pairs(pairs) == [("tiger", "cat", 7.35), ("old", "new", 1.58)]
    pairs.write_text("tiger cat 7.35\nold new\n")
    with pytest.raises(ValueError, match=r"line 2: expected two words and a score\..*old new"):
        data.read_word_pairs(pairs)
    questions = tmp_path / "questions.txt"
    questions.write_text(": family\nBoy girl brother sister\n\n: empty\n: gram\na b c d\n")
    assert data.read_analogies(questions) == {
        "family": [("boy", "girl", "brother", "sister")],
        "empty": [],
        "gram": [("a", "b", "c", "d")],
    }
    for text in ("a b c d\n", ": s\na b c\n"):
        questions.write_text(text)
        with pytest.raises(ValueError, match="expected `: section` or, in a section, four words"):
            data.read_analogies(questions)
