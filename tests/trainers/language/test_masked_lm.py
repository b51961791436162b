"""MaskedLM: which tokens are hidden and by what, and both losses."""

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.case import Case, zeros
from tests.trainers.language.small_text import BAD_TEXT, bert, cross_entropies, loss_of, padded

SPECIAL = [0, 9]


def make(**arguments):
    return trainers.MaskedLM(bert(), 10, SPECIAL, **{"mask_ratio": 0.25, "seed": 0, **arguments})


CASES = {
    "MaskedLM": Case(
        make=make,
        x=padded,
        decreasing_loss="loss",
        decrease=0.3,
        bad_data=(*BAD_TEXT, (zeros(64, 16, dtype="int32"), "that can be hidden.*64 of 64")),
    ),
}


def test_tokens_are_hidden_as_bert_hides_them():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 9, (2000, 16)).astype("int32")
    ids[:, 0], ids[::2, 8:] = 9, 0
    inputs = {"token_ids": ids, "padding_mask": ids > 0}
    trainer = make()
    places, weights = (np.asarray(one) for one in trainer._choose(inputs))
    seen = np.asarray(trainer._hide(ids, places, weights))
    chosen = np.zeros(ids.shape, bool)
    for row, columns in enumerate(np.where(weights > 0, places, -1)):
        chosen[row, columns[columns >= 0]] = True
    assert not chosen[np.isin(ids, SPECIAL)].any()
    # a quarter of 15 tokens, and of 7, rounded
    np.testing.assert_array_equal(chosen.sum(axis=1), np.where(np.arange(2000) % 2, 4, 2))
    np.testing.assert_array_equal(seen[~chosen], ids[~chosen])
    assert np.mean(seen[chosen] == 10) == pytest.approx(0.8 + 0.1 / 12, abs=0.02)
    # a random token is the same one, or the mask, in 2 of 12 cases
    is_other = (seen != ids) & (seen != 10) & chosen
    assert is_other.sum() / chosen.sum() == pytest.approx(0.1 * 10 / 12, abs=0.015)
    # every place is as likely as any other
    rates = chosen[1::2, 1:].mean(axis=0)
    np.testing.assert_allclose(rates, 4 / 15, atol=0.06)


def test_whole_words_are_hidden():
    """Tokens 5 to 8 continue words; a word is hidden whole or not at all."""
    continues = np.zeros(12, bool)
    continues[5:9] = True
    ids = np.random.default_rng(1).integers(1, 9, (500, 16)).astype("int32")
    ids[:, 8] = 9  # a special token ends a word
    trainer = make(word_starts=~continues, mask_ratio=0.4)
    places, weights = (np.asarray(one) for one in trainer._choose({"token_ids": ids}))
    whole = 0
    for row in range(500):
        chosen = set(places[row][weights[row] > 0].tolist())
        words, start = [], 0
        for place in range(16):
            if place == 0 or not continues[ids[row, place]] or ids[row, place - 1] == 9:
                start = place
            words.append(start)
        of_word = {}
        for place, start in enumerate(words):
            of_word.setdefault(start, set()).add(place)
        touched = [one for one in of_word.values() if one & chosen]
        whole += all(one <= chosen for one in touched)
        assert touched and 8 not in chosen and len(chosen) <= 6
    assert whole >= 495  # but for a word longer than all that may be hidden


def test_loss_is_the_mean_over_hidden_tokens(monkeypatch):
    x = {name: one[:9] for name, one in padded().items()}
    trainer = make()
    places = np.tile(np.array([[1, 4, 7, 12]], "int32"), (9, 1))
    weights = np.ones((9, 4), "float32")
    weights[::3, 3] = 0  # padding
    visible = x["token_ids"].copy()
    visible[:, [1, 4, 7]] = 10
    monkeypatch.setattr(trainer, "_choose", lambda inputs: (places, weights))
    monkeypatch.setattr(trainer, "_hide", lambda ids, places, weights: visible)
    found = loss_of(trainer, x)["loss"]
    trainer.output_bias.assign(np.linspace(-1, 1, 12))
    tokens = trainer.encoder({**x, "token_ids": visible})
    tokens = trainer.encoder.encode({**x, "token_ids": visible})["tokens"].numpy()
    hidden = trainer.transform(np.take_along_axis(tokens, places[:, :, None], axis=1))
    logits = trainer.encoder.token_embedding(hidden, reverse=True).numpy()
    targets = np.take_along_axis(x["token_ids"], places, axis=1)
    errors, _ = cross_entropies(logits, targets)
    assert found == pytest.approx((errors * weights).sum() / weights.sum(), rel=1e-5)
    errors, _ = cross_entropies(logits + np.linspace(-1, 1, 12), targets)
    found = trainer.evaluate(x, verbose=0)
    assert found == pytest.approx((errors * weights).sum() / weights.sum(), rel=1e-5)


def test_next_sentences_are_told_from_others():
    x = padded()
    x["segment_ids"] = np.repeat([[0] * 8 + [1] * 8], len(x["token_ids"]), axis=0).astype("int32")
    x["is_next"] = (x["token_ids"][:, 8] > x["token_ids"][:, 7]).astype("int32")
    trainer = make(next_sentence=True)
    losses = loss_of(trainer, x)
    assert set(losses) == {"loss", "masked_tokens", "next_sentence"}
    both = losses["masked_tokens"] + losses["next_sentence"]
    assert losses["loss"] == pytest.approx(both, rel=1e-5)
    assert trainer.predict(x, verbose=0).shape == (len(x["token_ids"]), 16)
    history = trainer.fit(x, epochs=3, verbose=0).history["next_sentence"]
    assert history[-1] < history[0]
    with pytest.raises(ValueError, match="needs 'is_next' in the data"):
        loss_of(make(next_sentence=True), padded())


def test_encoder_of_texts_alone_is_refused():
    alone = keras.Sequential([keras.Input((16,), dtype="int32"), keras.layers.Embedding(12, 4)])
    alone.add(keras.layers.GlobalAveragePooling1D())
    trainer = trainers.MaskedLM(alone, 10, SPECIAL, head=keras.layers.Dense(12))
    with pytest.raises(ValueError, match=r"a vector for each token.*one for each text"):
        loss_of(trainer, padded()["token_ids"])


def test_bad_arguments():
    for arguments, message in (
        ({"mask_token_id": 12}, "`mask_token_id` must be of the vocabulary of 12"),
        ({"special_token_ids": [12]}, "`special_token_ids` must be of the vocabulary"),
        ({"mask_ratio": 0.0}, "`mask_ratio`"),
        ({"word_starts": [True] * 11}, r"a boolean for each token, \(12,\)"),
        ({"head": keras.layers.Dense(12), "transform": keras.layers.Dense(16)}, "Received: both"),
    ):
        with pytest.raises(ValueError, match=message):
            trainers.MaskedLM(bert(), **{"mask_token_id": 10, **arguments})
