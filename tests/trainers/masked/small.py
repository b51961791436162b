"""Encoders of a few thousand weights, a masking layer, and data that masked methods refuse."""

import keras
import numpy as np
from keras import ops

from keras_ssl import layers, networks, trainers
from tests.trainers.case import zeros
from tests.trainers.small import images

BAD_PATCHES = (
    (zeros(64, 28, 28), "(batch, height, width, channels)|rank"),
    (zeros(64, 28, 28, 3), "axis -1 of input shape to have value 1"),
    (zeros(64, 30, 28, 1), r"Resize them to \(28, 28\)"),
    (zeros(0, 28, 28, 1), "no data"),
)


def tiny_vit(**arguments) -> keras.Model:
    """Make an encoder of 4x4 patches of 7x7 pixels."""
    return networks.vit((16, 2, 2), **{"input_shape": (28, 28, 1), "patch_size": 7, **arguments})


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class FixedMask(keras.layers.Layer):
    """Hides the same patches of every image: a masking layer as a user may write it."""

    def __init__(self, hidden, **kwargs):
        super().__init__(**kwargs)
        self.hidden = tuple(hidden)

    def count(self, tokens):
        return len(self.hidden)

    def call(self, tokens):
        is_hidden = np.isin(np.arange(tokens.shape[1]), self.hidden)
        return ops.broadcast_to(is_hidden, (ops.shape(tokens)[0], tokens.shape[1]))


class Mixer(networks.TokenEncoder):
    """An encoder that knows neither sets of patches nor masks of attention."""

    patch_size = (7, 7)

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.patches = layers.PatchEmbedding(7, width=8)
        self.mixing = keras.layers.Dense(8)

    def grid(self, shape):
        return self.patches.grid(shape)

    def embed(self, images):
        return self.patches(images)

    def encode(self, tokens, grid, training=None):
        tokens = tokens + self.mixing(ops.mean(tokens, axis=1, keepdims=True))
        return {"features": ops.mean(tokens, axis=1), "patch_tokens": tokens}


def patches_of(x: np.ndarray) -> np.ndarray:
    """Return the pixels of the 7x7 patches of images, float64 `(batch, patches, pixels)`."""
    patches = [
        x[:, row : row + 7, column : column + 7].reshape(len(x), -1)
        for row in range(0, x.shape[1], 7)
        for column in range(0, x.shape[2], 7)
    ]
    return np.stack(patches, axis=1).astype("float64")


def made(name: str, optimizer="sgd", **arguments) -> keras.Model:
    """Make a trainer by its name, from equal weights each time, and build it."""
    keras.utils.set_random_seed(3)
    trainer = getattr(trainers, name)(**arguments)
    trainer.compile(optimizer)
    trainer.build_step(keras.KerasTensor((8, 28, 28, 1), "uint8"), None)
    return trainer


def loss_of(trainer: keras.Model, x: np.ndarray) -> float:
    """Return the loss of one batch, without training."""
    (values,) = trainer.compute_losses(trainers.Batch(x, x), False).values()
    return float(np.mean(values))


def moved_apart(trainer: keras.Model) -> keras.Model:
    """Change the teacher's weights, so that it is not its student."""
    rng = np.random.default_rng(0)
    teacher = trainer.teacher_encoder
    teacher.set_weights([w + 0.2 * rng.normal(size=w.shape) for w in teacher.get_weights()])
    return trainer


def check_teacher_follows(trainer: keras.Model, momentum: float) -> None:
    """Check that a step moves the teacher's weights towards the student's, without a gradient."""
    teacher = trainer.teacher_encoder
    assert not any(w.trainable for w in teacher.weights)
    before = teacher.get_weights()
    trainer.train_on_batch(images()[0][:8])
    pairs = zip(before, trainer.encoder.get_weights(), strict=True)
    for new, (old, student) in zip(teacher.get_weights(), pairs, strict=True):
        expected = momentum * old + (1 - momentum) * student
        np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-7)


def shapes_seen(trainer, monkeypatch):
    """Watch the parts of a trainer: a list that gets the shapes of what they are called on."""
    shapes = []
    encode, call = trainer.encoder.encode, trainer.predictor.call

    def watched_encode(tokens, *args, **kwargs):
        shapes.append(tuple(tokens.shape))
        return encode(tokens, *args, **kwargs)

    def watched_call(known, places, targets, **kwargs):
        shapes.append((tuple(known.shape), tuple(targets.shape)))
        return call(known, places, targets, **kwargs)

    monkeypatch.setattr(trainer.encoder, "encode", watched_encode)
    monkeypatch.setattr(trainer.predictor, "call", watched_call)
    return shapes
