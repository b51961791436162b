"""SimCSE: two vectors by dropout, and labelled sentences with hard negatives."""

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.case import Case
from tests.trainers.language.small_text import BAD_TEXT, bert, gpt2, loss_of, padded

CASES = {
    "SimCSE": Case(
        # without dropout, of which replicas draw the same numbers: two would not be like one
        make=lambda: trainers.SimCSE(bert(pooling="mean")),
        x=padded,
        decreasing_loss="loss",
        decrease=0.2,
        bad_data=BAD_TEXT,
    ),
}


def _contrast(anchor, keys):
    anchor, keys = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (anchor, keys))
    scores = anchor.astype("float64") @ keys.T / 0.05
    scores -= scores.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(scores).sum(axis=1)) - np.diag(scores))


def test_labelled_sentences_are_told_from_hard_negatives():
    x = padded()
    triple = {
        name: {key: one[start : start + 16] for key, one in x.items()}
        for name, start in (("anchor", 0), ("positive", 16), ("negative", 32))
    }
    encoder = bert(pooling="mean")
    vectors = {name: encoder(one).numpy() for name, one in triple.items()}
    found = loss_of(trainers.SimCSE(encoder), triple)["loss"]
    keys = np.concatenate([vectors["positive"], vectors["negative"]])
    assert found == pytest.approx(_contrast(vectors["anchor"], keys), rel=1e-4)
    del triple["negative"]
    found = loss_of(trainers.SimCSE(encoder), triple)["loss"]
    assert found == pytest.approx(_contrast(vectors["anchor"], vectors["positive"]), rel=1e-4)
    trainer = trainers.SimCSE(encoder)
    np.testing.assert_allclose(trainer(triple), vectors["anchor"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="'anchor', 'positive' and at will 'negative'"):
        loss_of(trainers.SimCSE(encoder), {"anchor": x["token_ids"], "other": x["token_ids"]})


def test_dropout_makes_two_vectors_of_a_sentence():
    """In training only: in evaluation the loss compares each sentence with itself."""
    x = {name: one[:32] for name, one in padded().items()}
    encoder = bert(dropout_rate=0.3, pooling="mean", seed=3)
    trainer = trainers.SimCSE(encoder)
    vectors = encoder(x).numpy()
    assert loss_of(trainer, x)["loss"] == pytest.approx(_contrast(vectors, vectors), rel=1e-4)
    dropped = trainer.embed(trainer._make_batch((x,)), training=True)
    assert not np.allclose(dropped["anchor"], dropped["positive"], atol=1e-3)


def test_tokens_are_pooled():
    """Of an encoder that returns tokens alone, and of one that has a vector of its own."""
    x = {name: one[:32] for name, one in padded().items()}
    tokens = gpt2()(x).numpy()
    counted = x["padding_mask"][:, :, None]
    expected = {
        "class": tokens[:, 0],
        "last": tokens[np.arange(32), x["padding_mask"].sum(axis=1) - 1],
        "mean": (tokens * counted).sum(axis=1) / counted.sum(axis=1),
    }
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in x}
    alone = keras.Model(inputs, gpt2()(inputs))
    for pooling, vectors in expected.items():
        for encoder in (alone, gpt2()):
            found = trainers.SimCSE(encoder, pooling)(x)
            np.testing.assert_allclose(found, vectors, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="vectors of tokens alone"):
        loss_of(trainers.SimCSE(alone), x)
    with pytest.raises(ValueError, match="`pooling` must be one of"):
        trainers.SimCSE(alone, "first")
