"""Seq2Seq: the mean over the tokens of targets, with label smoothing."""

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
        "encoder_token_ids": source["token_ids"],
        "encoder_padding_mask": source["padding_mask"],
        "decoder_token_ids": target,
        "decoder_padding_mask": mask.astype("int32"),
    }


def _bad(name, value):
    return {**{key: one[:64] for key, one in pairs().items()}, name: value}


CASES = {
    "Seq2Seq": Case(
        make=lambda: trainers.Seq2Seq(transformer(), label_smoothing=0.1),
        x=pairs,
        decreasing_loss="loss",
        decrease=0.4,
        bad_data=(
            (zeros(64, 16, dtype="int32"), "'encoder_token_ids' and 'decoder_token_ids'"),
            (_bad("decoder_token_ids", zeros(64, 8)), "integer token ids"),
            (
                _bad("decoder_token_ids", np.full((64, 8), 12)),
                "'decoder_token_ids' must lie in 0..11",
            ),
        ),
    ),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_over_tokens_of_targets(smoothing):
    x = {name: one[:16] for name, one in pairs().items()}
    network = transformer()
    seen = {name: one[:, :-1] if name.startswith("decoder") else one for name, one in x.items()}
    targets, counts = x["decoder_token_ids"][:, 1:], x["decoder_padding_mask"][:, 1:]
    errors, log_p = cross_entropies(network.logits(network(seen)), targets)
    errors = (1 - smoothing) * errors - smoothing * log_p.mean(axis=-1)
    found = loss_of(trainers.Seq2Seq(network, smoothing), x)["loss"]
    assert found == pytest.approx((errors * counts).sum() / counts.sum(), rel=1e-5)


def test_vocabularies_may_differ_and_padding_changes_nothing():
    network = networks.transformer((16, 1, 2), 12, source_vocabulary_size=20, dropout_rate=0.0)
    trainer = trainers.Seq2Seq(network)
    x = pairs()
    x["encoder_token_ids"] = np.where(x["encoder_padding_mask"] > 0, 19, 3)
    loss = loss_of(trainer, x)["loss"]
    for side in ("encoder", "decoder"):
        filled = np.where(x[f"{side}_padding_mask"] > 0, x[f"{side}_token_ids"], 7)
        assert loss_of(trainer, {**x, f"{side}_token_ids": filled})["loss"] == pytest.approx(
            loss, rel=1e-5
        )
    with pytest.raises(ValueError, match=r"'encoder_token_ids' must lie in 0\.\.19"):
        loss_of(trainer, {**x, "encoder_token_ids": x["encoder_token_ids"] + 1})
    with pytest.raises(ValueError, match="two tokens or more"):
        loss_of(trainer, {name: one[:, :1] for name, one in x.items()})
