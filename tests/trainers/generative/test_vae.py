"""VAE: its terms in closed form, its bounds, samples, values of data."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from keras_ssl import losses, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.generative.mixtures import distance, mixture
from tests.trainers.small import dense, scaled_images

CASES = {
    "VAE": Case(
        make=lambda: trainers.VAE(
            dense(64, inputs=784, last="relu"), dense(64, 784, inputs=8), latent_dim=8, seed=0
        ),
        x=scaled_images,
        decreasing_loss="reconstruction",
        decrease=125,
        sgd=lambda: keras.optimizers.SGD(1e-4),  # losses are sums over 784 pixels
        bad_data=(
            (zeros(0, 784), "no data"),
            (zeros(64, 10), "784"),
            (zeros(64, 784) + 2, r"data in \[0, 1\]"),
        ),
        represents="sampling",
    ),
}


@pytest.fixture
def linear(rng):
    """A VAE of linear maps, whose likelihood is normal: x = W z + b + 0.5 noise."""
    trainer = trainers.VAE(
        keras.layers.Identity(),
        keras.layers.Dense(3, dtype="float32"),
        latent_dim=2,
        likelihood=losses.GaussianNLL(0.5),
        beta=keras.optimizers.schedules.PolynomialDecay(0.0, 4, 1.0),
        seed=0,
    )
    trainer.compile(keras.optimizers.SGD(0.0))
    trainer.build((None, 3))
    trainer.set_weights([0.4 * rng.normal(size=w.shape) for w in trainer.get_weights()])
    return trainer


def posterior_of(trainer, x):
    kernel, bias = (w.astype("float64") for w in trainer.to_posterior.get_weights())
    return np.split(x @ kernel + bias, 2, axis=-1)


def test_terms_equal_closed_forms(linear, rng):
    """The error is an expectation over draws of z: of 4,096 here."""
    x = rng.normal(size=(1, 3)).astype("float32")
    found = linear.evaluate(np.repeat(x, 4096, 0), batch_size=4096, verbose=0, return_dict=True)
    mean, log_variance = posterior_of(linear, x)
    kl = np.sum((np.exp(log_variance) + mean**2 - 1 - log_variance) / 2)
    assert found["kl"] == pytest.approx(kl, rel=1e-5)
    w, b = (v.astype("float64") for v in linear.decoder.get_weights())
    at_mean = -scipy.stats.norm(mean @ w + b, 0.5).logpdf(x).sum()
    spread = (w**2 * np.exp(log_variance).T).sum() / (2 * 0.5**2)
    assert found["reconstruction"] == pytest.approx(at_mean + spread, rel=0.05)
    # no step was taken: the schedule of beta is at 0, then at 1/4
    assert found["loss"] == pytest.approx(found["reconstruction"], rel=1e-6)
    logs = [linear.train_on_batch(np.repeat(x, 32, 0), return_dict=True) for _ in range(2)]
    total = [one["reconstruction"] + number / 4 * one["kl"] for number, one in enumerate(logs)]
    assert [one["loss"] for one in logs] == pytest.approx(total, rel=1e-5)


def test_importance_weighted_bound_rises_to_the_log_likelihood(linear, rng):
    x = rng.normal(size=(40, 3)).astype("float32")
    w, b = (v.astype("float64") for v in linear.decoder.get_weights())
    exact = scipy.stats.multivariate_normal(b, w.T @ w + 0.25 * np.eye(3)).logpdf(x)
    few, many = (linear.importance_weighted_bound(x, draws=k).mean() for k in (1, 200))
    assert few < many < exact.mean() + 0.02
    assert exact.mean() - many < 0.25 * (exact.mean() - few)
    again = linear.importance_weighted_bound(tf.data.Dataset.from_tensors((x, x[:, 0])), draws=1)
    assert again.mean() == few
    assert linear.active_units(x) == 2 and linear.active_units(x, threshold=1e6) == 0


def test_same_seed_gives_the_same_samples_on_replicas(linear, two_replicas):
    with two_replicas.scope():
        two = trainers.VAE.from_config(linear.get_config())
        two.compile("sgd")
        two.build((None, 3))
    two.set_weights(linear.get_weights())
    samples = linear.sample(5, seed=3)
    np.testing.assert_allclose(two.sample(5, seed=3, batch_size=2), samples, rtol=1e-6)
    assert np.all(np.asarray(linear.sample(5, seed=4)) != samples)
    w, b = linear.decoder.get_weights()  # what is decoded is standard normal
    z = np.linalg.lstsq(w.T, (np.asarray(linear.sample(2000, seed=1)) - b).T, rcond=None)[0]
    assert np.abs(np.cov(z) - np.eye(2)).max() < 0.1


def test_feature_maps_and_an_augmentation_that_draws_binary_images():
    """Images of 0..255, which the augmentation scales, are not refused."""

    class Binary(keras.layers.Layer):
        def call(self, x, training=False):
            uniform = keras.random.uniform(keras.ops.shape(x), seed=1)
            return keras.ops.cast(uniform < x / 255, "float32")

    trainer = trainers.VAE(
        keras.layers.Conv2D(4, 3, strides=2, padding="same"),
        keras.layers.Conv2DTranspose(1, 3, strides=2, padding="same"),
        latent_dim=2,
        free_bits=0.1,
        augment=Binary(),
    )
    trainer.compile("adam")
    x = np.full((4, 8, 8, 1), 200, "uint8")
    history = trainer.fit(x, verbose=0).history
    assert history["kl"][0] >= 0.1 * 4 * 4 * 2
    assert trainer.predict(x, verbose=0).shape == (4, 4, 4, 2)
    samples = np.asarray(trainer.sample(3, seed=0))
    assert samples.shape == (3, 8, 8, 1) and samples.min() > 0 and samples.max() < 1


def test_free_bits_count_in_training_alone(rng):
    x = rng.random((8, 3)).astype("float32")
    trainer = trainers.VAE(keras.layers.Identity(), keras.layers.Dense(3), 2, free_bits=5.0)
    trainer.compile(keras.optimizers.SGD(0.0))
    assert trainer.train_on_batch(x, return_dict=True)["kl"] == pytest.approx(10.0)
    mean, log_variance = posterior_of(trainer, x)
    kl = np.sum((np.exp(log_variance) + mean**2 - 1 - log_variance) / 2, axis=1).mean()
    found = trainer.evaluate(x, verbose=0, return_dict=True)
    assert found["kl"] == pytest.approx(kl, rel=1e-5)
    assert found["loss"] == pytest.approx(found["reconstruction"] + kl, rel=1e-5)


def test_samples_of_maps_of_unknown_size_are_refused():
    trainer = trainers.VAE(keras.layers.Conv2D(2, 1), keras.layers.Conv2D(1, 1), 2)
    trainer.build((None, None, None, 1))
    with pytest.raises(ValueError, match=r"needs a known shape.*\(None, None, None, 2\)"):
        trainer.sample(1)
    assert trainer.decode(np.zeros((1, 4, 4, 2), "float32")).shape == (1, 4, 4, 1)


def test_impossible_values_are_refused_wherever_they_come_in():
    def compiled():
        trainer = trainers.VAE(keras.layers.Dense(4), keras.layers.Dense(3), 2)
        trainer.compile("sgd")
        return trainer

    good, bad = np.zeros((8, 3), "float32"), np.full((8, 3), 1.5, "float32")
    calls = (
        lambda t: t.fit(tf.data.Dataset.from_tensor_slices(bad).batch(4), verbose=0),
        lambda t: t.fit(((bad[:4],) for _ in range(2)), verbose=0),
        lambda t: t.evaluate(bad, verbose=0),
        lambda t: t.train_on_batch(bad),
        lambda t: t.importance_weighted_bound(bad),
    )
    for call in calls:
        trainer = compiled()
        with pytest.raises(ValueError, match=r"from 1\.5 to 1\.5"):
            call(trainer)
        assert int(trainer.optimizer.iterations) == 0
    with pytest.raises(ValueError, match=r"In `validation_data`.*from 1\.5"):
        compiled().fit(good, validation_data=(bad,), verbose=0)


def test_bad_arguments_are_refused():
    parts = keras.layers.Dense(4), keras.layers.Dense(3)
    for arguments, error, message in (
        ({"latent_dim": 0}, ValueError, "`latent_dim`"),
        ({"likelihood": "poisson"}, ValueError, r"\['bernoulli', 'gaussian'\].*poisson"),
        ({"likelihood": keras.losses.MeanSquaredError()}, TypeError, "losses.Likelihood"),
        ({"beta": -1.0}, ValueError, "`beta`"),
        ({"free_bits": -1.0}, ValueError, "`free_bits`"),
    ):
        with pytest.raises(error, match=message):
            trainers.VAE(*parts, **{"latent_dim": 2, **arguments})
    with pytest.raises(ValueError, match="must be built before it can draw"):
        trainers.VAE(*parts, 2).sample(1)


@pytest.mark.few(1)
@pytest.mark.parametrize("dimensions", [2, 1])
def test_learns_a_mixture(dimensions):
    """A normal distribution with the mixture's moments has a distance of 0.2."""
    keras.utils.set_random_seed(1)
    trainer = trainers.VAE(
        dense(64, 64, inputs=dimensions),
        dense(64, 64, dimensions, inputs=2),
        latent_dim=2,
        likelihood=losses.GaussianNLL(0.2),
    )
    trainer.compile(keras.optimizers.Adam(1e-2))
    trainer.fit(mixture(dimensions, 4096), batch_size=512, epochs=45, verbose=0)
    means = np.asarray(trainer.sample(2000, seed=0))
    samples = means + np.random.default_rng(0).normal(0, 0.2, means.shape)
    assert distance(samples, mixture(dimensions, 2000, seed=1)) < 0.14
