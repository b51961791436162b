"""Small texts and networks for tests."""

import numpy as np

from keras_ssl import networks
from tests.trainers.case import zeros
from tests.trainers.small import tokens

VOCABULARY = 12  # tokens are 1 to 8

BAD_TEXT = (
    (zeros(64, 28), "integer token ids"),
    (zeros(64, 28, 1, dtype="int32"), "integer token ids"),
    (np.full((64, 28), VOCABULARY, "int32"), "Token ids must lie in 0..11"),
    (zeros(0, 28, dtype="int32"), "no data"),
)


def padded():
    """Return grey levels as texts, of which every third ends in eight tokens of padding."""
    ids, mask = tokens()[:, 6:22].copy(), np.ones((len(tokens()), 16), "int32")
    ids[::3, 8:], mask[::3, 8:] = 0, 0
    return {"token_ids": ids, "padding_mask": mask}


def bert(**arguments):
    arguments = {"dropout_rate": 0.0, "attention_dropout_rate": 0.0, "seed": 1, **arguments}
    return networks.bert((16, 1, 2), VOCABULARY, max_length=16, **arguments)


def gpt2(**arguments):
    arguments = {"dropout_rate": 0.0, "attention_dropout_rate": 0.0, "seed": 1, **arguments}
    return networks.gpt2((16, 1, 2), VOCABULARY, max_length=16, **arguments)


def transformer(**arguments):
    arguments = {"dropout_rate": 0.0, "pooling": "mean", "seed": 1, **arguments}
    return networks.transformer((16, 1, 2), VOCABULARY, **arguments)


def cross_entropies(logits, targets):
    """Return -log p of targets, in float64."""
    logits = np.asarray(logits, "float64")
    logits = logits - logits.max(axis=-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(log_p, np.asarray(targets)[..., None], axis=-1)[..., 0], log_p


def loss_of(trainer, x, y=None):
    """Return the losses of a batch, as `evaluate` computes them."""
    trainer.compile("adam")
    return trainer.evaluate(x, y, batch_size=64, verbose=0, return_dict=True)
