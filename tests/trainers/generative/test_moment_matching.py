"""Moment matching: its loss, samples, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import losses, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.generative.mixtures import distance, mixture
from tests.trainers.small import dense, scaled_images


def fixed_encoder():
    """Features that are the same in all trainers, whatever the seed."""
    encoder = dense(8, inputs=784)
    weights = [np.random.default_rng(0).normal(size=w.shape) / 28 for w in encoder.get_weights()]
    encoder.set_weights(weights)
    return encoder


CASES = {
    "MomentMatching": Case(
        make=lambda: trainers.MomentMatching(
            dense(32, 784, inputs=8, last="sigmoid"), 8, fixed_encoder(), seed=0
        ),
        x=scaled_images,
        decreasing_loss="loss",
        decrease=0.25,
        bad_data=(
            (zeros(0, 784), "no data"),
            (zeros(64, 10), "784"),
            (zeros(1, 784), "fewer than 2"),
        ),
    ),
}


def test_loss_is_the_discrepancy_of_features(rng):
    """Of all tensors of a structure, or of features that are frozen."""
    real, fake = rng.normal(size=(2, 8, 3)).astype("float32")

    class Fixed(keras.layers.Layer):
        def call(self, z, training=False):
            x = 0 * z[:, :1] + fake
            return {"a": x[:, :2], "b": x[:, 2:]}

    trainer = trainers.MomentMatching(Fixed(), 3)
    trainer.compile("sgd")
    x = {"a": real[:, :2], "b": real[:, 2:]}
    found = trainer.evaluate(x, batch_size=8, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(float(losses.mmd(real, fake)), rel=1e-5)
    np.testing.assert_array_equal(trainer(x), real)
    np.testing.assert_array_equal(trainer.sample(8)["b"], fake[:, 2:])
    encoder = fixed_encoder()
    trainer = trainers.MomentMatching(dense(784, inputs=4), 4, encoder)
    trainer.compile("sgd")
    before = encoder.get_weights()
    trainer.fit(scaled_images()[:16], batch_size=16, verbose=0)
    for one, other in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert all("encoder" not in v.path for v in trainer.trainable_weights)


def test_bad_arguments_are_refused():
    good = keras.layers.Dense(3)
    for arguments, error, message in (
        ((3, 2), TypeError, "`generator`"),
        ((good, 0), ValueError, "`latent_dim`"),
        ((good, 2, good), ValueError, "`encoder` must be a trained model"),
        ((good, 2, None, "mmd"), TypeError, "`loss`"),
    ):
        with pytest.raises(error, match=message):
            trainers.MomentMatching(*arguments)
    trainer = trainers.MomentMatching(keras.layers.Dense(4), 2)
    trainer.compile("sgd")
    with pytest.raises(ValueError, match="`generator` must return the shape"):
        trainer.fit(zeros(8, 3), verbose=0)
    with pytest.raises(ValueError, match="must be built before"):
        trainers.MomentMatching(keras.layers.Dense(4), 2).sample(3)


@pytest.mark.few(1)
@pytest.mark.parametrize("dimensions", [2, 1])
def test_learns_a_mixture(dimensions):
    """A normal distribution with the mixture's moments has a distance of 0.2."""
    keras.utils.set_random_seed(1)
    trainer = trainers.MomentMatching(dense(64, 64, dimensions, inputs=2), latent_dim=2)
    trainer.compile(keras.optimizers.Adam(5e-3))
    trainer.fit(mixture(dimensions, 4096), batch_size=256, epochs=20, verbose=0)
    samples = np.asarray(trainer.sample(2000, seed=0))
    assert distance(samples, mixture(dimensions, 2000, seed=1)) < 0.12
