import itertools

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data needs TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_ssl import text
from keras_ssl.text.next_sentences import _SentencePairs

# word n of the vocabulary begins sentence n, and "x" fills it, more for later ones
SIZES = [3, 1, 4, 2, 5]
DOCUMENTS, START = [], itertools.count()
for size in SIZES:
    DOCUMENTS.append([f"s{n}" + " x" * (n % 4) for n in itertools.islice(START, size)])
SENTENCES = [sentence for document in DOCUMENTS for sentence in document]
DOCUMENT_OF = np.repeat(np.arange(len(SIZES)), SIZES)
TOKENIZER = text.VocabularyTokenizer([*(f"s{n}" for n in range(sum(SIZES))), "x"])


def pairs_of(data):
    """First and second sentence of every pair of an epoch, and whether it is said to follow."""
    batches = list(data.as_numpy_iterator())
    return numbers_of({name: np.concatenate([one[name] for one in batches]) for name in batches[0]})


def numbers_of(batch):
    numbers = batch["token_ids"] - 5
    is_number = (numbers >= 0) & (numbers < len(SENTENCES)) & batch["padding_mask"]
    first, second = (
        numbers[np.arange(len(numbers)), np.argmax(is_number & (batch["segment_ids"] == one), 1)]
        for one in (0, 1)
    )
    return batch, first, second, batch["is_next"]


def made(**arguments):
    options = {"join_sentences": False, "segment_ids": True, "shuffle": True, "seed": 0}
    return text.next_sentence_batches(DOCUMENTS, TOKENIZER, 13, 4, **{**options, **arguments})


def test_half_of_the_pairs_follow_and_the_others_are_of_two_documents():
    data = made()
    batch, first, second, is_next = pairs_of(data)
    has_next = [n for n in range(14) if DOCUMENT_OF[n] == DOCUMENT_OF[n + 1]]
    assert sorted(first) == has_next
    assert is_next.sum() == len(has_next) // 2
    np.testing.assert_array_equal(second[is_next == 1], first[is_next == 1] + 1)
    assert (DOCUMENT_OF[second] != DOCUMENT_OF[first])[is_next == 0].all()
    # the tokenizer makes the same rows of the same sentences
    expected = TOKENIZER(
        [SENTENCES[n] for n in first], 13, [SENTENCES[n] for n in second], segment_ids=True
    )
    for name, values in expected.items():
        np.testing.assert_array_equal(batch[name], values)
        assert batch[name].dtype == values.dtype


def test_pairs_are_drawn_for_each_epoch_and_from_the_seed():
    data, resumed = made(), made()
    epochs = [np.stack(pairs_of(data)[1:]) for _ in range(2)]
    assert not np.array_equal(*epochs)
    iter(resumed)  # a resumed run makes the iterators of earlier epochs
    np.testing.assert_array_equal(np.stack(pairs_of(resumed)[1:]), epochs[1])
    in_order = np.stack(pairs_of(made(shuffle=False, seed=1))[1:])
    assert (np.diff(in_order[0]) > 0).all()
    assert not np.array_equal(in_order, epochs[0][:, np.argsort(epochs[0][0])])


def test_every_sentence_of_other_documents_can_be_drawn():
    encoded = [TOKENIZER.encode(document) for document in DOCUMENTS]
    pairs = _SentencePairs(encoded, TOKENIZER, length=13)
    firsts, others = (one.ravel() for one in np.meshgrid(range(10), range(15)))
    batch = pairs.batch(tf.constant(firsts), tf.constant(others), tf.zeros(150, "int64"))
    _, first, second, _ = numbers_of({name: one.numpy() for name, one in batch.items()})
    for one in set(first):
        of_others = np.flatnonzero(DOCUMENT_OF[one] != DOCUMENT_OF)
        assert set(second[first == one]) == set(of_others)


def test_joined_sentences_keep_their_order_and_fit():
    tokenizer = text.VocabularyTokenizer([f"s{n}" for n in range(40)])
    documents = [[f"s{n}" for n in range(20)], [f"s{n}" for n in range(20, 22)], ["s39"]]
    data = text.next_sentence_batches(documents, tokenizer, 11, 4, segment_ids=True, seed=0)
    followed = set()
    for batch in data.as_numpy_iterator():
        for row, mask, segments, is_next in zip(
            *(batch[name] for name in ("token_ids", "padding_mask", "segment_ids", "is_next")),
            strict=True,
        ):
            words = tokenizer.decode(row).split()
            numbers = [int(word[1:]) for word in words]
            assert mask.sum() <= 11 and segments[mask].any()
            if is_next:
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
                followed.add(tuple(numbers))
    # four words fit into a half; a document of two sentences stays in two parts
    assert followed <= {
        (0, 1, 2, 3, 4, 5, 6, 7),
        *(tuple(range(n, n + 8)) for n in (4, 8, 12)),
        (20, 21),
    }


def test_long_sentences_are_cut_and_empty_ones_left_out():
    documents = [["a a a a a a", "", "b b b b b b"], ["", "c c c c c"]]
    tokenizer = text.VocabularyTokenizer(["a", "b", "c"])
    data = text.next_sentence_batches(documents, tokenizer, 7, 2, segment_ids=True, seed=0)
    (batch,) = data.as_numpy_iterator()
    # the only pair; one of one is no coin
    assert batch["token_ids"].tolist() in ([[2, 5, 5, 3, 6, 6, 3]], [[2, 5, 5, 3, 7, 7, 3]])
    assert batch["segment_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1]]
    assert sorted(next(iter(text.next_sentence_batches(documents, tokenizer, 7, 2)))) == [
        "is_next",
        "padding_mask",
        "token_ids",
    ]


@pytest.mark.parametrize(
    ("documents", "length", "error", "message"),
    [
        ([["a", "b"]], 8, ValueError, "at least two.*Received: 1 documents"),
        ([["a"], ["b"]], 8, ValueError, "of at most 1 sentences"),
        ([["", ""], [""]], 8, ValueError, "Received: 0 documents"),
        ([], 8, ValueError, "at least one text"),
        (["a b", "c d"], 8, TypeError, "lists of sentences, one for each document"),
        ([["a", 1], ["b"]], 8, TypeError, r"documents\[1\]=1"),
        ([["s1", "s2"], ["s3"]], 4, ValueError, "`length` must be at least 5"),
    ],
)
def test_bad_documents(documents, length, error, message):
    with pytest.raises(error, match=message):
        text.next_sentence_batches(documents, TOKENIZER, length, 2)
