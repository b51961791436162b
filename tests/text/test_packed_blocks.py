import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data needs TensorFlow", allow_module_level=True)

from keras_ssl import text

TOKENIZER = text.VocabularyTokenizer([f"w{n}" for n in range(400)])
END = TOKENIZER.end_token_id
SIZES = [3, 0, 8, 1, 20, 7, 2, 9, 1, 31, 0, 5, 4, 1]
# every token occurs once, so that a token tells its document
DOCUMENTS = np.split(np.arange(5, 5 + sum(SIZES)), np.cumsum(SIZES)[:-1])
DOCUMENT_OF = np.repeat(np.arange(len(SIZES)), SIZES)


def blocks_of(**arguments):
    data = text.packed_blocks(DOCUMENTS, TOKENIZER, 8, 3, **arguments)
    batches = list(data.as_numpy_iterator())
    return {name: np.concatenate([one[name] for one in batches]) for name in batches[0]}


@pytest.mark.parametrize("end_token", [True, False])
@pytest.mark.parametrize("split_documents", [True, False])
def test_every_token_is_in_one_block_and_no_document_mixed(split_documents, end_token):
    blocks = blocks_of(split_documents=split_documents, end_token=end_token)
    tokens, mask, numbers = (blocks[name] for name in ("token_ids", "padding_mask", "document_ids"))
    assert tokens.dtype == numbers.dtype == np.int32 and mask.dtype == bool
    stream = [n for one in DOCUMENTS for n in [*one, *([END] if end_token else [])]]
    assert tokens[mask].tolist() == stream
    assert (np.diff(mask.astype(int), axis=1) <= 0).all() and mask[:, 0].all()
    np.testing.assert_array_equal(numbers > 0, mask)
    assert (tokens[~mask] == TOKENIZER.pad_token_id).all()
    for row, ids in zip(tokens, numbers, strict=True):
        assert ids[0] == 1 and set(np.diff(ids[ids > 0])) <= {0, 1}
        for number in range(1, ids.max() + 1):
            words = row[(ids == number) & (row != END)] - 5
            assert len(set(DOCUMENT_OF[words])) <= 1
            if end_token:  # at most one, and at the end
                assert END not in row[ids == number][:-1]
        owners = [DOCUMENT_OF[n - 5] for n in row[(ids > 0) & (row != END)]]
        assert len(set(owners)) <= ids.max()


def test_only_the_last_block_has_padding_if_documents_are_split():
    mask = blocks_of()["padding_mask"]
    total = sum(SIZES) + len(SIZES)
    assert len(mask) == -(-total // 8) and mask.sum() == total and mask[:-1].all()


def test_documents_that_fit_stay_whole():
    blocks = blocks_of(split_documents=False, end_token=False)
    found = {}
    for number, row in enumerate(blocks["token_ids"]):
        for token in row[row >= 5]:
            found.setdefault(DOCUMENT_OF[token - 5], set()).add(number)
    for document, size in enumerate(SIZES):
        if size:
            assert len(found[document]) == -(-size // 8), document
    # as few blocks as filling them in order allows
    fills, blocks_needed = 8, 0
    for size in (size for size in SIZES if size):
        if fills + size > 8:
            blocks_needed, fills = blocks_needed + 1, 0
        blocks_needed, fills = blocks_needed + (fills + size - 1) // 8, (fills + size - 1) % 8 + 1
    assert len(blocks["token_ids"]) == blocks_needed


def test_blocks_of_strings_shuffled_and_without_ids():
    data = text.packed_blocks(
        ["w1 w2", "", "w3"], TOKENIZER, 3, 1, shuffle=True, seed=0, document_ids=False
    )
    orders = [[one["token_ids"][0].tolist() for one in data.as_numpy_iterator()] for _ in range(8)]
    assert all(sorted(order) == [[3, 8, 3], [6, 7, 3]] for order in orders)
    assert len({str(order) for order in orders}) == 2
    assert sorted(data.element_spec) == ["padding_mask", "token_ids"]


def test_bad_documents():
    with pytest.raises(ValueError, match="`documents` must hold at least one text"):
        text.packed_blocks([], TOKENIZER, 8, 2)
    with pytest.raises(ValueError, match="`documents` must have tokens"):
        text.packed_blocks(["", " "], TOKENIZER, 8, 2, end_token=False)
    with pytest.raises(TypeError, match="`documents` must be an iterable of strings"):
        text.packed_blocks("one text", TOKENIZER, 8, 2)
    with pytest.raises(ValueError, match="`documents` must be in the vocabulary"):
        text.packed_blocks([[5, 999]], TOKENIZER, 8, 2)
    with pytest.raises(ValueError, match="`length` must be a positive integer"):
        text.packed_blocks(["w1"], TOKENIZER, 0, 2)
    without = text.VocabularyTokenizer(["a"])
    del without._special["end"]
    with pytest.raises(ValueError, match="special token in the role 'end'"):
        text.packed_blocks(["a"], without, 8, 2)
