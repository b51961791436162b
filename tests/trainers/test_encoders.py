"""Encoders that Keras users have: `keras.applications` and KerasHub, in every kind of trainer."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, trainers

SIZE = 32


def views():
    return augment.SimCLRViews(SIZE, seed=0)


def heads(count):
    return [layers.ProjectionHead((16, 8), normalization=False) for _ in range(count)]


MAKERS = {
    "SimCLR": lambda encoder: trainers.SimCLR(encoder, *heads(1), views()),
    "BYOL": lambda encoder: trainers.BYOL(encoder, *heads(2), views()),
    "MoCo": lambda encoder: trainers.MoCo(
        encoder, *heads(1), views(), queue=layers.FeatureQueue(16, seed=0)
    ),
    "DINO": lambda encoder: trainers.DINO(encoder, *heads(1), layers.Prototypes(16), views()),
    "MSN": lambda encoder: trainers.MSN(encoder, *heads(1), layers.Prototypes(16), views()),
}


def images():
    return np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3)).astype("uint8")


def train(name, encoder, path):
    """Train, save and load; return the outputs of student and teacher before and after."""
    trainer = MAKERS[name](encoder)
    trainer.compile(keras.optimizers.SGD(1e-3))
    history = trainer.fit(images(), batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"][0])
    trainer.save(path)
    loaded = keras.saving.load_model(path)
    x = images()[:4].astype("float32")
    for one in ("encoder", "teacher_encoder"):
        if hasattr(trainer, one):
            expected = getattr(trainer, one)(x, training=False)
            given = getattr(loaded, one)(x, training=False)
            np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("name", ["BYOL"])
def test_keras_applications_train_as_they_are(name, tmp_path):
    encoder = keras.applications.MobileNetV2(
        (SIZE, SIZE, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )
    train(name, encoder, tmp_path / "trainer.keras")


@pytest.mark.full
@pytest.mark.parametrize("name", ["SimCLR", "MoCo", "DINO", "MSN"])
def test_more_trainers_of_keras_applications(name, tmp_path):
    encoder = keras.applications.MobileNetV2(
        (SIZE, SIZE, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )
    train(name, encoder, tmp_path / "trainer.keras")


@pytest.mark.slow
def test_a_teacher_of_an_efficient_net_equals_its_student():
    """Its `Normalization` and `Rescaling` compute with tensors derived from weights."""
    encoder = keras.applications.EfficientNetB0(
        include_top=False, weights=None, pooling="avg", input_shape=(SIZE, SIZE, 3)
    )
    encoder.layers[2].adapt(images().astype("float32"))
    trainer = MAKERS["BYOL"](encoder)
    trainer.build((None, SIZE, SIZE, 3))
    x = images()[:4].astype("float32")
    np.testing.assert_allclose(trainer.teacher_encoder(x), trainer.encoder(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["BYOL", "DINO", "MSN"])
def test_keras_hub_backbones_train_as_they_are(name):
    """Such a model does not read its own config back, which no teacher may need."""
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.ViTBackbone(
        image_shape=(SIZE, SIZE, 3),
        patch_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    encoder = keras.Model(backbone.input, backbone.output[:, 0])
    trainer = MAKERS[name](encoder)
    trainer.compile(keras.optimizers.SGD(1e-3))
    x = images()
    assert np.isfinite(trainer.fit(x, batch_size=8, verbose=0).history["loss"][0])
    assert trainer.predict(x, verbose=0).shape == (16, 16)
    before = [np.asarray(w) for w in trainer.teacher_encoder.weights]
    trainer.fit(x, batch_size=8, verbose=0)
    after = [np.asarray(w) for w in trainer.teacher_encoder.weights]
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
