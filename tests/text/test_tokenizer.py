import json
import sys

import keras
import numpy as np
import pytest

from keras_ssl import text

tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    "The lighthouse keeper was unafraid of the unbelievable storm.",
    "Isn't the storm over? The keeper's lamp was burning, burning!",
    "Überraschung: das Café öffnet um 10 Uhr, 東京 too.",
    "storms, keepers and lighthouses",
]
ODD = ["", " ", "storm", "un-known\tthing 🙂 e\u0301", "東京", "a" * 300, "[MASK] the storm"]


@pytest.fixture(scope="module")
def word_piece():
    return text.Tokenizer.word_piece(TEXTS, 110, minimum_count=1)


@pytest.fixture(scope="module")
def byte_pair():
    return text.Tokenizer.byte_pair(TEXTS, 300)


@pytest.mark.parametrize("pairs", [False, True])
def test_batches_of_bert_are_those_of_the_package(word_piece, pairs):
    package = tokenizers.Tokenizer.from_str(word_piece.json)
    package.enable_truncation(12)
    package.enable_padding(length=12, pad_id=0, pad_token="[PAD]")
    first, second = TEXTS + ODD, [*ODD, *TEXTS[::-1]]
    expected = package.encode_batch(list(zip(first, second, strict=True)) if pairs else first)
    batch = word_piece(first, 12, second=second if pairs else None)
    np.testing.assert_array_equal(batch["token_ids"], [one.ids for one in expected])
    np.testing.assert_array_equal(batch["segment_ids"], [one.type_ids for one in expected])
    np.testing.assert_array_equal(batch["padding_mask"], [one.attention_mask for one in expected])
    assert {name: one.dtype for name, one in batch.items()} == {
        "token_ids": np.int32,
        "segment_ids": np.int32,
        "padding_mask": bool,
    }


def test_special_tokens_of_bert(word_piece):
    assert word_piece.vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = ("pad", "unknown", "start", "end", "mask")
    assert [getattr(word_piece, f"{name}_token_id") for name in names] == [0, 1, 2, 3, 4]
    assert word_piece.special_token_ids == [0, 1, 2, 3, 4]
    assert word_piece.encode("[MASK] storm")[0] == 4
    assert word_piece.decode(word_piece(["The storm"], 8)["token_ids"]) == ["the storm"]
    whole = word_piece.decode(word_piece(["storm"], 4)["token_ids"][0], skip_special_tokens=False)
    assert whole == "[CLS] storm [SEP] [PAD]"


def test_word_piece_training_gives_the_same_again(word_piece):
    again = text.Tokenizer.word_piece((one for one in TEXTS), 110, minimum_count=1)
    assert again.json == word_piece.json


def test_word_piece_vocabulary_is_that_of_the_package():
    texts = ["ab " * 9 + "cd " * 7 + "ef " * 5, "東京 gh, gh"]
    package = tokenizers.BertWordPieceTokenizer()
    package.train_from_iterator(texts, 500, min_frequency=5, show_progress=False)
    # forms within words that no word has
    without = {f"##{one}" for one in "aceg"}
    for size in (500, 26):
        ours = set(text.Tokenizer.word_piece(texts, size, minimum_count=5).vocabulary)
        assert ours - without == set(package.get_vocab()) - ({"ef"} if size == 26 else set())


def test_alphabet_has_the_most_frequent_characters():
    tokenizer = text.Tokenizer.word_piece(["aaa bbb cc d"], 50, alphabet_size=2)
    assert {one for one in tokenizer.vocabulary if len(one) == 1} == {"a", "b"}
    assert tokenizer.encode("d").tolist() == [tokenizer.unknown_token_id]
    cased = text.Tokenizer.word_piece(["Zoë"], 50, lowercase=False)
    assert {"Z", "##ë"} < set(cased.vocabulary)


def test_byte_pairs_are_those_of_the_package(byte_pair):
    package = tokenizers.ByteLevelBPETokenizer()
    package.train_from_iterator(TEXTS, 300, special_tokens=["<|endoftext|>"], show_progress=False)
    expected, model = json.loads(package.to_str())["model"], json.loads(byte_pair.json)["model"]
    assert model["vocab"] == expected["vocab"] and model["merges"] == expected["merges"]
    for one in TEXTS + ODD:
        assert byte_pair.encode(one).tolist() == package.encode(one).ids
        assert byte_pair.decode(byte_pair.encode(one)) == one
    assert byte_pair.vocabulary[0] == "<|endoftext|>"
    assert byte_pair.pad_token_id == byte_pair.start_token_id == byte_pair.end_token_id == 0
    assert sorted(byte_pair(TEXTS, 8)) == ["padding_mask", "token_ids"]
    ids = byte_pair.encode("storm").tolist()
    assert byte_pair(["storm"], 20)["token_ids"][0].tolist()[: len(ids) + 2] == [0, *ids, 0]


def package_tokenizer(start, end, others, between, types):
    """A byte-level tokenizer as RoBERTa's, GPT-2's or another, made by the package."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    special = list(dict.fromkeys([start, *others, end]))
    made.train_from_iterator(
        TEXTS, tokenizers.trainers.BpeTrainer(special_tokens=special, show_progress=False)
    )
    if between:
        made.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"{start} $A {end}",
            pair=f"{start} $A {between} $B:{types} {end}:{types}",
            special_tokens=[(one, made.token_to_id(one)) for one in special],
        )
    return made


@pytest.mark.parametrize(
    ("start", "end", "others", "between", "types"),
    [
        ("<s>", "</s>", ["<pad>", "<unk>", "<mask>"], "</s> </s>", 0),
        ("<bos>", "<eos>", ["<pad>"], "<eos>", 1),
        ("<|endoftext|>", "<|endoftext|>", [], None, 0),
    ],
    ids=["RoBERTa", "segments", "GPT-2"],
)
def test_files_of_the_package_load_the_same(tmp_path, start, end, others, between, types):
    package = package_tokenizer(start, end, others, between, types)
    with_lengths = tokenizers.Tokenizer.from_str(package.to_str())
    with_lengths.enable_truncation(4)
    with_lengths.enable_padding(length=9)
    with_lengths.save(str(tmp_path / "tokenizer.json"))
    loaded = text.Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert loaded.vocabulary_size == package.get_vocab_size()
    assert loaded.has_segments == bool(types)
    texts = TEXTS + ODD
    for one, ids in zip(texts, loaded.encode(texts), strict=True):
        assert ids.tolist() == package.encode(one, add_special_tokens=False).ids
    if between:
        batch = loaded(texts, 400, second=texts[::-1])
        rows = zip(batch["token_ids"], batch["padding_mask"], strict=True)
        for one, other, (row, mask) in zip(texts, texts[::-1], rows, strict=True):
            assert row[mask].tolist() == package.encode(one, other).ids
    assert loaded.start_token_id == package.token_to_id(start)
    assert loaded.end_token_id == package.token_to_id(end)
    loaded.save(tmp_path / "again.json")
    assert tokenizers.Tokenizer.from_file(str(tmp_path / "again.json")).to_str() == loaded.json


@pytest.mark.parametrize("kind", ["word_piece", "byte_pair"])
def test_word_starts_are_where_the_package_begins_words(kind, request):
    tokenizer = request.getfixturevalue(kind)
    package = tokenizers.Tokenizer.from_str(tokenizer.json)
    # byte pairs carry the space before a word, which the first word of a text lacks
    for one in (f" {line}" for line in TEXTS[:2]):
        encoded = package.encode(one, add_special_tokens=False)
        expected = np.diff([-1, *encoded.word_ids]) > 0
        np.testing.assert_array_equal(tokenizer.word_starts[encoded.ids], expected)
        assert not expected.all()
    assert tokenizer.word_starts[tokenizer.special_token_ids].all()


def test_word_starts_of_other_vocabularies():
    kinds = tokenizers.models
    for model, words in ((kinds.WordLevel({"a": 0}, "a"), [True]), (kinds.BPE({"a": 0}, []), None)):
        tokenizer = text.Tokenizer(tokenizers.Tokenizer(model).to_str())
        if words is None:
            with pytest.raises(ValueError, match="Words can be told apart in WordPiece"):
                _ = tokenizer.word_starts
        else:
            assert tokenizer.word_starts.tolist() == words
    sentence_piece = tokenizers.Tokenizer(kinds.BPE({"▁sto": 0, "rm": 1, "!": 2}, []))
    sentence_piece.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    starts = text.Tokenizer(sentence_piece.to_str()).word_starts
    assert starts.tolist() == [True, False, True]


def test_named_special_tokens(byte_pair):
    package = tokenizers.Tokenizer.from_str(byte_pair.json)
    package.add_special_tokens(["<blank>"])
    named = text.Tokenizer(package.to_str(), special_tokens={"mask": "<blank>"})
    assert named.mask_token_id == package.token_to_id("<blank>")
    copy = text.Tokenizer.from_config(named.get_config())
    assert copy.mask_token_id == named.mask_token_id and copy.json == named.json
    with pytest.raises(ValueError, match="special token in the role 'mask'"):
        _ = byte_pair.mask_token_id
    with pytest.raises(ValueError, match="must have the roles pad, unknown"):
        text.Tokenizer(byte_pair.json, special_tokens={"blank": "a"})
    with pytest.raises(ValueError, match="mask='<m>', which is not"):
        text.Tokenizer(byte_pair.json, special_tokens={"mask": "<m>"})


def test_the_package_is_asked_for_by_the_extra(word_piece, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for use in (
        lambda: text.Tokenizer.word_piece(TEXTS, 100),
        lambda: text.Tokenizer.byte_pair(TEXTS, 300),
        lambda: text.Tokenizer("{}"),
    ):
        with pytest.raises(ImportError, match=r"pip install 'keras-ssl\[text\]'"):
            use()


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda t: t.word_piece([], 100), ValueError, "must hold words"),
        (lambda t: t.byte_pair(["", " \n"], 300), ValueError, "must hold words"),
        (lambda t: t.word_piece("storm", 100), TypeError, "For files use `text.Lines"),
        (lambda t: t.byte_pair(["a", b"b"], 300), TypeError, r"texts\[1\]=b'b' of type bytes"),
        (lambda t: t.word_piece(["a", None], 100), TypeError, r"texts\[1\]=None"),
        (lambda t: t.word_piece(["abcdefgh"], 20), ValueError, "must be at least 21 for the 8"),
        (lambda t: t.byte_pair(["abc"], 256), ValueError, "`vocabulary_size`"),
        (lambda t: t("{}"), ValueError, "content of a tokenizer.json"),
        (lambda t: t({}), TypeError, "content of a tokenizer.json"),
        (lambda t: t.from_file("absent.json"), FileNotFoundError, "absent"),
    ],
)
def test_bad_texts_and_files(use, error, message):
    with pytest.raises(error, match=message):
        use(text.Tokenizer)


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda t: t.decode([0, 999]), ValueError, "from 0 to .*. Received: the id 999"),
        (lambda t: t.decode([[-1]]), ValueError, "Received: the id -1"),
        (lambda t: t.decode([0.5]), TypeError, "must be integers"),
        (lambda t: t.encode(["a", 1]), TypeError, r"texts\[1\]=1"),
        (lambda t: t(["a"], 2), ValueError, "`length` must be at least 3"),
        (lambda t: t(["a"], 3, second=["a"]), ValueError, "`length` must be at least 4"),
        (lambda t: t("a storm", 8), TypeError, "iterable of strings"),
        (lambda t: t([], 8), ValueError, "at least one text"),
        (lambda t: t(["a", [5]], 8), TypeError, "strings or ids. Received: both"),
        (lambda t: t([[5, 999]], 8), ValueError, "Received: the id 999"),
        (lambda t: t(["a"], 8, second=[]), ValueError, "`second` must hold at least one"),
        (lambda t: t(["a"], 8, second=["a", "b"]), ValueError, "as many entries as `texts`, 1"),
        (lambda t: t.pad([[5, 6, 7]], 2), ValueError, "a row of 3 tokens"),
        (lambda t: t(["a"], 0), ValueError, "`length` must be a positive integer"),
    ],
)
def test_bad_arguments(word_piece, use, error, message):
    with pytest.raises(error, match=message):
        use(word_piece)


def test_ids_in_many_forms(word_piece):
    ids = word_piece.encode("the storm")
    tensor = keras.ops.convert_to_tensor(ids[None])
    assert word_piece.decode(ids.tolist()) == word_piece.decode(ids) == "the storm"
    assert word_piece.decode(tensor) == word_piece.decode([ids]) == ["the storm"]
    assert word_piece.decode([]) == ""
    np.testing.assert_array_equal(
        word_piece([ids], 9)["token_ids"], word_piece(["the storm"], 9)["token_ids"]
    )
    bare = word_piece(["the storm", ""], 3, special_tokens=False, segment_ids=False)
    np.testing.assert_array_equal(bare["token_ids"], [[*ids, 0], [0, 0, 0]])
    assert bare["padding_mask"].sum() == 2 and "segment_ids" not in bare
