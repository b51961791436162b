"""KerasHub's backbones as encoders of methods on text."""

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.language.small_text import padded

SIZES = {
    "vocabulary_size": 12,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
    "max_sequence_length": 16,
}


@pytest.fixture(scope="module")
def models():
    return pytest.importorskip("keras_hub").models


def _trained(trainer, tmp_path):
    """Train, save and load; return what both compute of the data."""
    x = padded()
    trainer.compile(keras.optimizers.Adam(3e-3))
    history = trainer.fit(x, batch_size=32, epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0]
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    few = {name: one[:4] for name, one in x.items()}
    found = trainer.predict(few, verbose=0)
    for one, other in zip(
        keras.tree.flatten(found), keras.tree.flatten(loaded.predict(few, verbose=0)), strict=True
    ):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    return found


@pytest.mark.parametrize("name", ["BertBackbone", "RobertaBackbone"])
def test_masked_lm(models, name, tmp_path):
    encoder = getattr(models, name)(**SIZES)
    _trained(trainers.MaskedLM(encoder, 10, [0], mask_ratio=0.25, seed=0), tmp_path)


def test_causal_lm(models, tmp_path):
    assert _trained(trainers.CausalLM(models.GPT2Backbone(**SIZES)), tmp_path).shape == (4, 16, 16)


@pytest.mark.parametrize("name, pooling", [("BertBackbone", None), ("RobertaBackbone", "mean")])
def test_sim_cse(models, name, pooling, tmp_path):
    encoder = getattr(models, name)(**SIZES, dropout=0.1)
    assert _trained(trainers.SimCSE(encoder, pooling), tmp_path).shape == (4, 16)
