import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data needs TensorFlow", allow_module_level=True)

from keras_ssl import text

WORDS = [f"w{number}" for number in range(20)]
TEXTS = [" ".join(WORDS[: 1 + number % 7]) for number in range(11)]
TOKENIZER = text.VocabularyTokenizer(WORDS)


def epoch(data):
    """All batches of an epoch, concatenated by name."""
    batches = list(data.as_numpy_iterator())
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)


@pytest.mark.parametrize("second", [None, TEXTS[::-1]], ids=["texts", "pairs"])
def test_batches_are_those_of_the_tokenizer(second):
    data = text.batches(
        iter(TEXTS), TOKENIZER, 8, 4, second=second, labels=np.arange(11.0), segment_ids=True
    )
    assert len(data) == 3
    x, y = epoch(data)
    expected = TOKENIZER(TEXTS, 8, second=second, segment_ids=True)
    assert sorted(x) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(x[name], values)
        assert x[name].dtype == values.dtype
    np.testing.assert_array_equal(y, np.arange(11))
    assert x["segment_ids"].any() == (second is not None)


def test_ids_shapes_and_options():
    encoded = TOKENIZER.encode(TEXTS)
    data = text.batches(encoded, TOKENIZER, 5, 4, special_tokens=False, drop_remainder=True)
    assert {name: tuple(spec.shape) for name, spec in data.element_spec.items()} == {
        "token_ids": (4, 5),
        "padding_mask": (4, 5),
    }
    for row, mask, ids in zip(*epoch(data).values(), encoded[:8], strict=True):
        assert row[mask].tolist() == ids[:5].tolist()


def test_shuffling_is_seeded_and_can_be_resumed():
    def orders(data, count=3):
        return [epoch(data)[1].tolist() for _ in range(count)]

    def made(seed):
        numbers = range(len(TEXTS))
        return text.batches(TEXTS, TOKENIZER, 8, 4, labels=numbers, shuffle=True, seed=seed)

    first = orders(made(0))
    assert first == orders(made(0)) != orders(made(1))
    assert all(sorted(order) == list(range(11)) for order in first)
    assert len({tuple(order) for order in first}) == 3
    resumed = made(0)
    iter(resumed), iter(resumed)  # a resumed run makes the iterators of earlier epochs
    assert orders(resumed, 1) == first[2:]


def test_parallel_texts_stay_together():
    letters = text.VocabularyTokenizer.characters(WORDS)
    texts = {"source": TEXTS, "target": [one.split()[-1] for one in TEXTS]}
    data = text.parallel_batches(
        texts,
        {"source": TOKENIZER, "target": letters},
        {"source": 9, "target": 5},
        batch_size=4,
        shuffle=True,
        seed=0,
    )
    batch = epoch(data)
    assert sorted(batch) == ["source", "target"]
    assert batch["source"]["token_ids"].shape == (11, 9)
    assert batch["target"]["padding_mask"].shape == (11, 5)
    sources = TOKENIZER.decode(batch["source"]["token_ids"])
    targets = letters.decode(batch["target"]["token_ids"])
    assert sources != TEXTS and sorted(sources) == sorted(TEXTS)
    assert targets == [one.split()[-1] for one in sources]
    target = batch["target"]
    assert (target["token_ids"][:, 0] == letters.start_token_id).all()
    ends = target["padding_mask"].sum(axis=1) - 1
    assert (target["token_ids"][np.arange(11), ends] == letters.end_token_id).all()


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: text.batches([], TOKENIZER, 8, 4), ValueError, "at least one text"),
        (lambda: text.batches("w1", TOKENIZER, 8, 4), TypeError, "iterable of strings"),
        (lambda: text.batches([[99]], TOKENIZER, 8, 4), ValueError, "Received: the id 99"),
        (lambda: text.batches(TEXTS, TOKENIZER, 2, 4), ValueError, "`length` must be at least 3"),
        (lambda: text.batches(TEXTS, TOKENIZER, 8, 0), ValueError, "`batch_size`"),
        (
            lambda: text.batches(TEXTS, TOKENIZER, 8, 12, drop_remainder=True),
            ValueError,
            "at most the number of examples, 11",
        ),
        (
            lambda: text.batches(["w1", ""], TOKENIZER, 8, 2, special_tokens=False),
            ValueError,
            "no tokens in text 1",
        ),
        (
            lambda: text.batches(TEXTS, TOKENIZER, 8, 4, labels=[1, 2]),
            ValueError,
            "for each of the 11 texts",
        ),
        (lambda: text.batches(TEXTS, TOKENIZER, 8, 4, shuffle=True, seed=0.5), TypeError, "`seed`"),
        (lambda: text.parallel_batches(TEXTS, TOKENIZER, 8, 4), TypeError, "dictionary of texts"),
        (
            lambda: text.parallel_batches({"a": TEXTS, "b": TEXTS[1:]}, TOKENIZER, 8, 4),
            ValueError,
            "equally many",
        ),
        (
            lambda: text.parallel_batches({"a": TEXTS}, TOKENIZER, {"b": 8}, 4),
            ValueError,
            "`length` must have an entry for each name",
        ),
    ],
)
def test_bad_arguments(use, error, message):
    with pytest.raises(error, match=message):
        use()
