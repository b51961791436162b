"""CausalLM: which tokens count, and the mean over them."""

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.case import Case, zeros
from tests.trainers.language.small_text import BAD_TEXT, cross_entropies, gpt2, loss_of, padded

CASES = {
    "CausalLM": Case(
        make=lambda: trainers.CausalLM(gpt2()),
        x=padded,
        decreasing_loss="loss",
        decrease=0.4,
        bad_data=(*BAD_TEXT, (zeros(64, 1, dtype="int32"), "two tokens or more")),
    ),
}


def test_loss_is_the_mean_over_tokens_that_count():
    """Padding does not, nor the first token of a packed document."""
    x = {name: one[:24] for name, one in padded().items()}
    documents = np.zeros((24, 16), "int32")
    documents[1::3, 5:] = 1
    encoder = gpt2()
    seen = {"token_ids": x["token_ids"][:, :-1], "document_ids": documents[:, :-1]}
    logits = encoder.logits(encoder({**seen, "padding_mask": x["padding_mask"][:, :-1]}))
    errors, _ = cross_entropies(logits, x["token_ids"][:, 1:])
    counts = x["padding_mask"][:, 1:] * (documents[:, 1:] == documents[:, :-1])
    found = loss_of(trainers.CausalLM(encoder), {**x, "document_ids": documents})
    assert found["loss"] == pytest.approx((errors * counts).sum() / counts.sum(), rel=1e-5)


def test_recurrent_network_with_a_head():
    """Any causal network will do, and what padding holds changes nothing."""
    layers = keras.layers
    network = keras.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(12, 4),
            layers.GRU(8, return_sequences=True),
        ]
    )
    trainer = trainers.CausalLM(network, head=layers.Dense(12))
    ids = padded()["token_ids"]
    first = loss_of(trainer, ids)["loss"]
    logits = trainer.head(network(ids[:, :-1]))
    assert first == pytest.approx(cross_entropies(logits, ids[:, 1:])[0].mean(), rel=1e-5)
    trainer.fit(ids, epochs=3, verbose=0)
    assert trainer.evaluate(ids, verbose=0) < first
    with pytest.raises(ValueError, match="which would be ignored"):
        loss_of(trainers.CausalLM(network, head=layers.Dense(12)), padded())
    with pytest.raises(ValueError, match=r"`head` with `units`.*without `token_embedding`"):
        trainers.CausalLM(network)


def test_windows_have_one_token_more_than_the_context():
    encoder = gpt2()
    trainer = trainers.CausalLM(encoder)
    ids = np.random.default_rng(0).integers(1, 9, (4, 17)).astype("int32")
    logits = encoder.logits(encoder(ids[:, :-1]))
    expected = cross_entropies(logits, ids[:, 1:])[0].mean()
    assert loss_of(trainer, ids)["loss"] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(trainer(ids), encoder(ids[:, :-1]), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="positions for 16 tokens"):
        trainer(np.ones((4, 18), "int32"))
