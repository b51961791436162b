"""Images and networks of the tests of tasks about patches."""

import keras
import numpy as np

from keras_ssl import trainers
from tests.trainers.small import encoder, images

HEAD = 32


def photos(count=8):
    return images()[0][:count]


def colored(count=8):
    """Images of 28x28 with three channels that differ."""
    gray = photos(count).astype("float32")
    return np.concatenate([gray, 0.5 * gray + 20, 255 - gray], axis=-1)


def make(method, *arguments, rate=0.05, **keywords):
    keras.utils.set_random_seed(2)
    head = {"head": keras.layers.Dense(HEAD, "tanh"), **keywords}
    trainer = method(*arguments, **head)
    trainer.compile(keras.optimizers.SGD(rate))
    return trainer


def any_size():
    return encoder(size=None)


@keras.saving.register_keras_serializable(package="tests")
class Borders(keras.layers.Layer):
    """The pixels along the four sides of an image."""

    def call(self, x):
        sides = (x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1])
        return keras.ops.concatenate([keras.layers.Flatten()(side) for side in sides], axis=-1)


def border_encoder(size, channels=1):
    """An encoder that sees the borders of a patch, and how bright each of its pixels is."""
    return keras.Sequential(
        [
            keras.layers.Input((None, None, channels)),
            keras.layers.Resizing(size, size, interpolation="nearest"),
            Borders(),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Dense(16, "relu"),
        ]
    )


def lit_from_a_corner(count, size=28):
    """Noise on a ramp of brightness: nothing but light tells where a patch lies."""
    rng = np.random.default_rng(0)
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    light = 3.0 * rows + 4.0 * columns
    x = light[None] + rng.normal(scale=8, size=(count, size, size))
    return x[..., None].astype("float32")


def gain_over_chance(make_trainer, classes, epochs=8):
    """By how much the loss of fresh images is below chance after training."""
    x = lit_from_a_corner(640)
    trainer = make_trainer()
    trainer.compile(keras.optimizers.Adam(1e-2))
    trainer.fit(x[:512], batch_size=64, epochs=epochs, verbose=0)
    found = trainer.evaluate(x[512:], batch_size=128, verbose=0, return_dict=True)["loss"]
    return np.log(classes) - found


def cross_entropy(trainer, patches, classes):
    """The loss of patches in float64, with the encoder called on one patch at a time."""
    columns = [np.asarray(trainer.encoder(patches[:, n])) for n in range(patches.shape[1])]
    together = np.concatenate(columns, axis=-1).astype("float64")
    (w, b), (v, c) = (
        [np.asarray(one, "float64") for one in part.weights]
        for part in (trainer.head, trainer.classifier)
    )
    scores = np.exp(np.tanh(together @ w + b) @ v + c)
    return -np.log(scores[np.arange(len(scores)), classes] / scores.sum(axis=1))


def batch_of(x):
    return trainers.Batch(x, x)
