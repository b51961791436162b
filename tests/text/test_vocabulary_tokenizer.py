import keras
import numpy as np
import pytest

from keras_ssl import text

POEM = ["Tyger Tyger, burning bright,\nIn the forests", "of the night;", "", "über Öl 東京"]


def test_words_are_those_of_text_vectorization():
    tokenizer = text.VocabularyTokenizer.words(POEM)
    layer = keras.layers.TextVectorization(vocabulary=tokenizer.vocabulary[2:])
    texts = [*POEM, "a tyger"]
    expected = keras.ops.convert_to_numpy(layer(np.array(texts)))
    batch = tokenizer(texts, expected.shape[1], special_tokens=False)
    np.testing.assert_array_equal(batch["token_ids"], expected)
    np.testing.assert_array_equal(batch["padding_mask"], expected > 0)
    assert tokenizer.vocabulary[:5] == ["", "[UNK]", "[START]", "[END]", "[MASK]"]
    assert set(tokenizer.vocabulary[5:7]) == {"tyger", "the"}  # the most frequent
    assert tokenizer.decode(tokenizer.encode("The Tyger!")) == "the tyger"
    assert tokenizer.word_starts.all()


def test_characters_come_back_as_they_were():
    tokenizer = text.VocabularyTokenizer.characters(POEM)
    assert set(tokenizer.vocabulary[5:]) == set("".join(POEM))
    for one, ids in zip(POEM, tokenizer.encode(POEM), strict=True):
        assert len(ids) == len(one) and tokenizer.decode(ids) == one
    assert tokenizer.encode("tz")[1] == tokenizer.unknown_token_id
    starts = dict(zip(tokenizer.vocabulary, tokenizer.word_starts, strict=True))
    assert starts[" "] and starts["\n"] and starts[","] and starts["[MASK]"]
    assert not starts["t"] and not starts["東"]


def test_start_and_end_stand_around_texts():
    tokenizer = text.VocabularyTokenizer(["a", "b"])
    single = tokenizer(["a b a", "b", ""], 4)
    assert single["token_ids"].tolist() == [[2, 5, 6, 3], [2, 6, 3, 0], [2, 3, 0, 0]]
    assert sorted(single) == ["padding_mask", "token_ids"]
    pairs = tokenizer(["a b a", "b"], 6, second=["b", "a b a"], segment_ids=True)
    assert pairs["token_ids"].tolist() == [[2, 5, 6, 3, 6, 3], [2, 6, 3, 5, 6, 3]]
    assert pairs["segment_ids"].tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]


def test_vocabulary_size_keeps_the_most_frequent():
    tokenizer = text.VocabularyTokenizer.words(["a a a b b c", "[MASK] [unk]"], 7, standardize=None)
    assert tokenizer.vocabulary[5:] == ["a", "b"]
    assert tokenizer.vocabulary_size == 7


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda t: t.words([]), ValueError, "must hold words"),
        (lambda t: t.words(["", "!"]), ValueError, "must hold words"),
        (lambda t: t.characters("abc"), TypeError, "iterable of strings"),
        (lambda t: t.characters(["a", 1]), TypeError, r"texts\[1\]=1"),
        (lambda t: t.words(["a"], 5), ValueError, "`vocabulary_size`"),
        (lambda t: t([]), ValueError, "distinct strings, at least one"),
        (lambda t: t(["a", "a"]), ValueError, "2 words, 1 of them distinct"),
        (lambda t: t(["a", "[UNK]"]), ValueError, r"special tokens \['\[UNK\]'\]"),
        (lambda t: t(["a", 1]), TypeError, r"words\[1\]=1"),
        (lambda t: t(["a"], split="letter"), ValueError, "`split` must be one of"),
        (lambda t: t(["a"], standardize="upper"), ValueError, "`standardize` must be one of"),
    ],
)
def test_bad_arguments(use, error, message):
    with pytest.raises(error, match=message):
        use(text.VocabularyTokenizer)
