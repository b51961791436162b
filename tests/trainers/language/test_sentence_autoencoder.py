"""SentenceAutoencoder: what is deleted, and the loss of what is rebuilt."""

import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.case import Case, zeros
from tests.trainers.language.small_text import (
    BAD_TEXT,
    bert,
    cross_entropies,
    loss_of,
    padded,
    transformer,
)

CASES = {
    "SentenceAutoencoder": Case(
        make=lambda: trainers.SentenceAutoencoder(transformer(), seed=0),
        x=padded,
        decreasing_loss="loss",
        decrease=0.4,
        bad_data=(*BAD_TEXT, (zeros(64, 1, dtype="int32"), "two tokens or more")),
    ),
}


def test_texts_lose_tokens_and_keep_their_order():
    ids = np.tile(np.arange(1, 11, dtype="int32"), (2000, 1))
    mask = np.ones(ids.shape, bool)
    mask[::2, 6:] = False
    trainer = trainers.SentenceAutoencoder(transformer(), 0.6, seed=0)
    damaged = {name: np.asarray(one) for name, one in trainer._damage(ids, mask).items()}
    kept = damaged["padding_mask"].sum(axis=1)
    # the first token stays, of the others two fifths
    assert kept[1::2].mean() == pytest.approx(1 + 9 * 0.4, abs=0.15)
    assert kept[::2].mean() == pytest.approx(1 + 5 * 0.4, abs=0.12)
    for row in range(50):
        text = damaged["token_ids"][row][damaged["padding_mask"][row]]
        assert text[0] == 1 and np.all(np.diff(text) > 0) and text.max() <= (10 if row % 2 else 6)


def test_loss_is_the_mean_over_tokens():
    x = {name: one[:24] for name, one in padded().items()}
    network = transformer()
    vector = network.encode(x)["pooled"]
    seen = {name: one[:, :-1] for name, one in x.items()}
    tokens = network.decode(seen, vector[:, None])["tokens"]
    errors, _ = cross_entropies(network.logits(tokens), x["token_ids"][:, 1:])
    counts = x["padding_mask"][:, 1:]
    trainer = trainers.SentenceAutoencoder(network, deletion_ratio=0.0)
    found = loss_of(trainer, x)["loss"]
    assert found == pytest.approx((errors * counts).sum() / counts.sum(), rel=1e-5)
    np.testing.assert_allclose(trainer(x), vector, rtol=1e-5, atol=1e-6)


def test_network_that_cannot_decode_is_refused():
    with pytest.raises(TypeError, match="with `encode` and `decode`"):
        trainers.SentenceAutoencoder(bert())
