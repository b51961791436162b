"""RotationPrediction: its loss, what it can and cannot learn from, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, trainers
from tests.trainers.case import BAD_IMAGES, Case, zeros
from tests.trainers.small import encoder, images

CASES = {
    "RotationPrediction": Case(
        make=lambda: trainers.RotationPrediction(
            encoder(), augment.RandomResizedCrop(28, scale=(0.8, 1.0), seed=0)
        ),
        decreasing_loss="loss",
        decrease=0.095,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        bad_data=BAD_IMAGES,
    ),
}


def photos(count=8):
    return images()[0][:count]


def of_pixels():
    """An encoder for which no two places are alike."""
    return keras.Sequential(
        [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(6, "tanh")]
    )


def make(encoder, **arguments):
    keras.utils.set_random_seed(2)
    trainer = trainers.RotationPrediction(encoder, **arguments)
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


def test_loss_is_the_cross_entropy_of_all_four_rotations():
    trainer = make(of_pixels())
    logs = trainer.evaluate(photos(), batch_size=8, verbose=0, return_dict=True)
    kernel, bias = (np.asarray(w, "float64") for w in trainer.head.weights)
    values = []
    for turns in range(4):
        rotated = np.rot90(photos(), turns, axes=(1, 2)).astype("float32")
        scores = np.exp(np.asarray(trainer.encoder(rotated), "float64") @ kernel + bias)
        values.append(-np.log(scores[:, turns] / scores.sum(axis=1)))
    assert np.std(values) > 0.01
    assert logs["loss"] == pytest.approx(np.mean(values), rel=1e-5)


def test_rotations_are_those_of_numpy():
    x = np.random.default_rng(0).normal(size=(3, 5, 5, 2)).astype("float32")
    found = np.asarray(make(of_pixels()).rotate(x))
    expected = [np.rot90(x, turns, axes=(1, 2)) for turns in range(4)]
    np.testing.assert_array_equal(found, np.stack(expected, axis=1))


def test_the_distribution_of_pixels_tells_nothing():
    """An encoder that does not see where pixels are stays at chance, since none are made up."""
    blind = keras.Sequential(
        [
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(16, 1, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    trainer = make(blind)
    trainer.compile(keras.optimizers.Adam(1e-2))
    history = trainer.fit(photos(64), batch_size=16, epochs=5, verbose=0).history
    assert min(history["loss"]) > np.log(4) - 1e-4


def test_probe_learns_from_features_of_images_that_are_not_rotated():
    trainer, x = make(of_pixels()), photos(4).astype("float32")
    trainer.build(x.shape)
    batch = trainers.Batch(x, x)
    found = trainer.compute_losses(batch, training=True)["representation"]
    np.testing.assert_allclose(found, trainer.encoder(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (zeros(8, 28, 20, 1), "Images must be square.*Received: images of 28x20"),
        ((zeros(8, 28, 28, 1), zeros(8, 28, 28, 1)), "Expected one batch of images"),
        (zeros(8, 28), "Expected one batch of images.*float32"),
    ],
)
def test_bad_images_are_rejected_before_the_first_step(x, message):
    trainer = make(of_pixels())
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, batch_size=8, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_bad_parts_are_rejected():
    with pytest.raises(TypeError, match="`encoder` must be a Keras Layer"):
        trainers.RotationPrediction(None)
    with pytest.raises(TypeError, match="`augment`"):
        trainers.RotationPrediction(encoder(), augment="flip")
    with pytest.raises(ValueError, match="must return features of shape"):
        make(keras.layers.Conv2D(4, 3)).fit(photos(), verbose=0)
