"""Seq2Seq: the mean over the tokens of targets, with label smoothing."""

import keras
import numpy as np
import pytest

from keras_ssl import networks, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.language.small_text import cross_entropies, loss_of, padded, transformer


def pairs():
    """Return texts as sources, and their first half, turned around, as targets."""
    source = padded()
    target, mask = source["token_ids"][:, 7::-1].copy(), np.ones((len(source["token_ids"]), 8))
    target[::4, 5:], mask[::4, 5:] = 0, 0
    return {
        "source": source,
        "target": {"token_ids": target, "padding_mask": mask.astype("int32")},
    }


def _bad(target):
    return {"source": pairs()["source"]["token_ids"][:64], "target": target}


CASES = {
    "Seq2Seq": Case(
        make=lambda: trainers.Seq2Seq(transformer(), label_smoothing=0.1),
        x=pairs,
        decreasing_loss="loss",
        decrease=0.4,
        bad_data=(
            (zeros(64, 16, dtype="int32"), "'source' and 'target'"),
            (_bad(zeros(64, 8)), "integer token ids"),
            (_bad(np.full((64, 8), 12)), "Token ids of 'target' must lie"),
        ),
    ),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_over_tokens_of_targets(smoothing):
    x = keras.tree.map_structure(lambda one: one[:16], pairs())
    network = transformer()
    (source, source_mask), (target, mask) = (tuple(one.values()) for one in x.values())
    seen = {
        "encoder_token_ids": source,
        "encoder_padding_mask": source_mask,
        "decoder_token_ids": target[:, :-1],
        "decoder_padding_mask": mask[:, :-1],
    }
    errors, log_p = cross_entropies(network.logits(network(seen)), target[:, 1:])
    errors = (1 - smoothing) * errors - smoothing * log_p.mean(axis=-1)
    found = loss_of(trainers.Seq2Seq(network, smoothing), x)["loss"]
    assert found == pytest.approx((errors * mask[:, 1:]).sum() / mask[:, 1:].sum(), rel=1e-5)


def test_vocabularies_may_differ_and_padding_changes_nothing():
    network = networks.transformer((16, 1, 2), 12, source_vocabulary_size=20, dropout_rate=0.0)
    trainer, x = trainers.Seq2Seq(network), pairs()
    x["source"]["token_ids"] = np.where(x["source"]["padding_mask"] > 0, 19, 3)
    loss = loss_of(trainer, x)["loss"]
    for side, one in x.items():
        filled = np.where(one["padding_mask"] > 0, one["token_ids"], 7)
        again = loss_of(trainer, {**x, side: {**one, "token_ids": filled}})["loss"]
        assert again == pytest.approx(loss, rel=1e-5)
    with pytest.raises(ValueError, match=r"'source' must lie in 0\.\.19"):
        loss_of(trainer, {**x, "source": x["source"]["token_ids"] + 1})
    with pytest.raises(ValueError, match="two tokens or more"):
        loss_of(trainer, keras.tree.map_structure(lambda one: one[:, :1], x))
