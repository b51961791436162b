"""KerasHub's backbones of images and texts as towers."""

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.small import images

VISION = {
    "patch_size": 7,
    "hidden_dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "intermediate_dim": 32,
    "image_shape": (28, 28, 1),
}
TEXT = {
    "vocabulary_size": 12,
    "embedding_dim": 16,
    "hidden_dim": 16,
    "num_layers": 1,
    "num_heads": 2,
    "intermediate_dim": 32,
    "max_sequence_length": 8,
}


def clip(models):
    parts = models.CLIPVisionEncoder(**VISION), models.CLIPTextEncoder(**TEXT)
    return trainers.CLIP, models.CLIPBackbone(*parts, projection_dim=8)


def sig_lip(models):
    parts = models.SigLIPVisionEncoder(**VISION), models.SigLIPTextEncoder(**TEXT)
    return trainers.SigLIP, models.SigLIPBackbone(*parts)


@pytest.mark.parametrize("make", [clip, sig_lip])
def test_backbones_are_towers(make, tmp_path):
    """One step trains the backbone itself; towers are its embeddings, of unit length."""
    kind, backbone = make(pytest.importorskip("keras_hub").models)
    image = keras.Input(backbone.vision_encoder.image_shape)
    ids = keras.Input((None,), dtype="int32")
    encoder = keras.Model(image, backbone.get_vision_embeddings(image))
    text_encoder = keras.Model(ids, backbone.get_text_embeddings(ids))
    trainer = kind(encoder, text_encoder, width=None)
    trainer.compile(keras.optimizers.Adam(1e-3))
    x = {
        "image": images()[0][:16].astype("float32") / 255,
        "text": np.random.default_rng(0).integers(12, size=(16, 8)),
    }
    parts = (backbone.vision_encoder, backbone.text_encoder)
    before = [one.get_weights() for one in parts]
    assert np.isfinite(trainer.fit(x, batch_size=16, verbose=0).history["loss"][0])
    for part, old in zip(parts, before, strict=True):
        assert any(np.any(a != b) for a, b in zip(old, part.get_weights(), strict=True))
    embeddings = backbone.get_vision_embeddings(x["image"]), backbone.get_text_embeddings(x["text"])
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    for name, expected in zip(("image", "text"), embeddings, strict=True):
        expected = np.array(expected)
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        for one in (trainer, loaded):
            vectors = one.tower(name).predict(x[name], verbose=0)
            np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)


def test_tokens_of_an_encoder_are_no_features():
    """The encoders of CLIP return all tokens, which need the backbone's pooling."""
    _, backbone = clip(pytest.importorskip("keras_hub").models)
    trainer = trainers.CLIP(backbone.vision_encoder, backbone.text_encoder, width=8)
    trainer.compile("adam")
    x = {"image": images()[0][:4], "text": np.zeros((4, 8), "int32")}
    with pytest.raises(ValueError, match="features of shape"):
        trainer.fit(x, verbose=0)
