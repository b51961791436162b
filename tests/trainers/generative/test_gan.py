"""GAN: its losses, steps, averages, labels, and the gradient penalty's second derivative."""

import keras
import numpy as np
import pytest

from keras_ssl import layers, losses, networks, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.generative.mixtures import distance, mixture
from tests.trainers.small import dense, scaled_images


def discriminator():
    return keras.Sequential(
        [
            keras.layers.Input((784,)),
            keras.layers.Dense(32, "relu"),
            keras.layers.Dense(16, "relu", name="features"),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )


def both(make, *arguments):
    """An optimizer for each network."""
    return {name: make(*arguments) for name in ("generator", "discriminator")}


CASES = {
    "GAN": Case(
        make=lambda: trainers.GAN(
            dense(64, 784, inputs=8, last="sigmoid"),
            discriminator(),
            latent_dim=8,
            gradient_penalty=0.1,
            ema_momentum=0.9,
            feature_layer="features",
            seed=0,
        ),
        x=scaled_images,
        decreasing_loss="discriminator",
        decrease=0.5,
        optimizer=lambda: {
            "discriminator": keras.optimizers.Adam(1e-3),
            "generator": keras.optimizers.Adam(1e-4),
        },
        sgd=lambda: both(keras.optimizers.SGD, 0.05),
        bad_data=((zeros(0, 784), "no data"), (zeros(64, 10), "784")),
        represents="two optimizers",
    ),
}


class Constant(keras.layers.Layer):
    """A generator of one example, a weight that Keras counts as learned."""

    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = self.add_weight(shape=np.shape(value), name="value")
        self.value.assign(value)

    def call(self, z, training=False):
        return 0 * z[:, :1] + keras.ops.convert_to_tensor(self.value)


def test_second_order_gradient_equals_finite_differences(rng, monkeypatch):
    """d(x) = a · tanh(x W + c), so the slope at u is W (a (1 - tanh²(u W + c)))."""
    x, fake = rng.normal(size=(6, 3)), rng.normal(size=3)
    network = dense(4, 1, inputs=3)
    network.layers[0].activation = keras.ops.tanh
    network.set_weights([rng.normal(size=w.shape) for w in network.get_weights()])
    before = [w.astype("float64") for w in network.get_weights()]

    def penalty(w, c, a, _):
        u = fake + 0.3 * (x - fake)
        slopes = ((1 - np.tanh(u @ w + c) ** 2) * a[:, 0]) @ w.T
        return np.mean((np.linalg.norm(slopes, axis=1) - 1) ** 2)

    monkeypatch.setattr(
        keras.random, "uniform", lambda shape, **_: keras.ops.full(shape, 0.3, "float32")
    )
    trainer = trainers.GAN(
        Constant(fake), network, 2, losses.WassersteinGAN(), 10.0, ema_momentum=None
    )
    # of all losses the penalty alone: 10 x 0.1
    trainer.compile(both(keras.optimizers.SGD, 1.0), loss_weights={"discriminator": 0.0})
    trainer.loss_weights["gradient_penalty"] = 0.1
    logs = trainer.train_on_batch(x.astype("float32"), return_dict=True)
    assert logs["gradient_penalty"] == pytest.approx(penalty(*before), rel=1e-5)
    for number, weight in enumerate(network.get_weights()):
        expected = np.zeros_like(before[number])
        for place in np.ndindex(expected.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = [one.copy() for one in before]
                moved[number][place] += step
                values.append(penalty(*moved))
            expected[place] = (values[0] - values[1]) / 2e-6
        np.testing.assert_allclose(before[number] - weight, expected, rtol=1e-3, atol=1e-5)


def test_penalty_of_patches_is_that_of_their_mean(rng):
    """The mean of four outputs, each of one input, has a quarter of their slopes."""
    slopes = np.array([1.0, 2.0, 3.0, 6.0], "float32")
    network = keras.layers.Lambda(lambda x: keras.ops.reshape(x * slopes, (-1, 2, 2, 1)))
    trainer = trainers.GAN(Constant(np.zeros(4)), network, 2, gradient_penalty=1.0)
    trainer.compile(both(keras.optimizers.SGD, 0.1))
    x = rng.normal(size=(4, 4)).astype("float32")
    logs = trainer.evaluate(x, verbose=0, return_dict=True)
    expected = (np.linalg.norm(slopes / 4) - 1) ** 2
    assert logs["gradient_penalty"] == pytest.approx(expected, rel=1e-5)


def test_steps_follow_the_algorithm(rng):
    """Two steps of the discriminator, then one of the generator, of d(x) = a x + b and G = g."""
    a, b, g, rate = 0.5, 0.1, -1.0, 0.1
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.set_weights([np.array([[a]]), np.array([b])])
    loss = losses.LeastSquaresGAN()
    trainer = trainers.GAN(Constant([g]), network, 2, loss, discriminator_steps=2, ema_momentum=0.5)
    trainer.compile(both(keras.optimizers.SGD, rate))
    x = rng.normal(2, 1, size=(8, 1)).astype("float32")
    logs = trainer.train_on_batch(x, return_dict=True)
    x = x.astype("float64")
    for _ in range(2):
        real, fake = a * x + b - 1, a * g + b
        value = (np.mean(real**2) + fake**2) / 2
        a, b = a - rate * (np.mean(real * x) + fake * g), b - rate * (np.mean(real) + fake)
    assert logs["discriminator"] == pytest.approx(value, rel=1e-5)
    assert logs["generator"] == pytest.approx((a * g + b - 1) ** 2 / 2, rel=1e-5)
    moved = g - rate * (a * g + b - 1) * a
    np.testing.assert_allclose([np.ravel(w)[0] for w in network.get_weights()], [a, b], rtol=1e-5)
    np.testing.assert_allclose(trainer.generator.get_weights(), [[moved]], rtol=1e-5)
    np.testing.assert_allclose(trainer.sample(2, averaged=False), [[moved]] * 2, rtol=1e-5)
    # the average of the weight before and after the step
    np.testing.assert_allclose(trainer.sample(2), [[(g + moved) / 2]] * 2, rtol=1e-5)
    steps = {name: int(one.iterations) for name, one in trainer.optimizers.items()}
    assert steps == {"generator": 1, "discriminator": 2} and int(trainer.steps_taken()) == 1


def conditional():
    """A generator with batch normalization, and a spectrally normalized discriminator."""
    z, label = keras.Input((4,), name="z"), keras.Input((), dtype="int32", name="label")
    h = keras.layers.Concatenate()([z, keras.layers.Embedding(10, 4)(label)])
    h = layers.SyncBatchNormalization()(keras.layers.Dense(8)(h))
    generator = keras.Model({"z": z, "label": label}, keras.layers.Dense(3)(h))
    x, label = keras.Input((3,), name="x"), keras.Input((), dtype="int32", name="label")
    dense = keras.layers.Dense(8, "relu", name="dense")
    h = keras.layers.SpectralNormalization(dense, name="features")(x)
    both = keras.layers.Concatenate()([h, keras.layers.Embedding(10, 4)(label)])
    return generator, keras.Model({"x": x, "label": label}, keras.layers.Dense(1)(both))


@pytest.mark.full
def test_labels_reach_both_networks_and_examples_without_one_are_left_out(rng, two_replicas):
    def made():
        keras.utils.set_random_seed(0)
        trainer = trainers.GAN(
            *conditional(),
            latent_dim=4,
            loss=losses.HingeGAN(),
            num_classes=10,
            feature_layer="features",
            ema_momentum=0.5,
            seed=0,
        )
        trainer.compile(both(keras.optimizers.SGD, 0.05))
        return trainer

    x = rng.normal(size=(16, 3)).astype("float32")
    y = np.where(np.arange(16) % 2, np.arange(16) % 10, -1)
    one = made()
    logs = one.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
    with two_replicas.scope():
        two = made()
    logs_of_two = two.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
    for name, values in logs.items():
        np.testing.assert_allclose(logs_of_two[name], values, rtol=1e-4)
    samples = one.sample(4, seed=0, label=3)
    np.testing.assert_allclose(two.sample(4, seed=0, label=[3] * 4), samples, atol=1e-4)
    assert np.any(samples != one.sample(4, seed=0, label=4))
    assert isinstance(one.sample(3), np.ndarray) and one.sample(3).shape == (3, 3)
    assert one.predict(x, verbose=0).shape == (16, 8)
    statistics = zip(one.generator.weights, one.teacher_generator.weights, strict=True)
    for student, copy in statistics:
        if not student.trainable:
            np.testing.assert_array_equal(copy, student)
    # without labels there is nothing to learn from
    before = one.generator.get_weights()
    logs = one.train_on_batch(x[:8], -np.ones(8, "int32"), return_dict=True)
    assert logs["discriminator"] == logs["generator"] == 0
    learned = zip(before, one.generator.weights, strict=True)
    assert all(np.array_equal(w, v) for w, v in learned if v.trainable)
    for labels, message in ((10, "0..9"), ([1, 2], "0..9 or 4 of them"), (0.5, "0..9")):
        with pytest.raises(ValueError, match=message):
            one.sample(4, label=labels)
    with pytest.raises(ValueError, match="learns from labels"):
        made().fit(x, verbose=0)
    with pytest.raises(ValueError, match=r"labels in 0\.\.9"):
        made().fit(x, y + 5, verbose=0)


def test_representation_of_a_conditional_discriminator_is_its_output_for_each_class():
    discriminator = networks.dcgan_discriminator((8, 8, 1), 2, num_classes=3)
    generator = networks.dcgan_generator((8, 8, 1), 4, 2, num_classes=3)
    trainer = trainers.GAN(generator, discriminator, 4, num_classes=3)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    found = trainer(x)
    assert found.shape == (2, 3)
    of_second = discriminator({"x": x, "label": np.array([1, 1])})
    np.testing.assert_allclose(found[:, 1:2], of_second, rtol=1e-5)
    with pytest.raises(ValueError, match=r"depend on 'x' alone"):
        name = discriminator.layers[-1].name
        trainers.GAN(generator, discriminator, 4, num_classes=3, feature_layer=name)


def test_bad_arguments_and_networks_are_refused():
    def made(generator=None, discriminator=None, latent_dim=2, **arguments):
        generator = keras.layers.Dense(3) if generator is None else generator
        discriminator = keras.layers.Dense(1) if discriminator is None else discriminator
        return trainers.GAN(generator, discriminator, latent_dim, **arguments)

    for arguments, error, message in (
        ({"generator": 3}, TypeError, "`generator`"),
        ({"discriminator": 3}, TypeError, "`discriminator`"),
        ({"latent_dim": 0}, ValueError, "`latent_dim`"),
        ({"loss": "hinge"}, TypeError, "GANLoss"),
        ({"gradient_penalty": -1}, ValueError, "`gradient_penalty`"),
        ({"discriminator_steps": 0}, ValueError, "`discriminator_steps`"),
        ({"ema_momentum": 1.0}, ValueError, "`momentum`"),
        ({"num_classes": 1}, ValueError, "`num_classes`"),
        ({"feature_layer": "features"}, ValueError, "`discriminator` must be a functional"),
    ):
        with pytest.raises(error, match=message):
            made(**arguments)
    with pytest.raises(ValueError, match="must be built"):
        made().sample(2, label=1)
    for parts, message in (
        ({"generator": keras.layers.Dense(4)}, "`generator` must return the shape"),
        ({"discriminator": keras.layers.Lambda(lambda x: x[:, 0])}, "`discriminator` must return"),
    ):
        trainer = made(**parts)
        trainer.compile(both(keras.optimizers.SGD, 0.1))
        with pytest.raises(ValueError, match=message):
            trainer.fit(zeros(8, 3), verbose=0)


@pytest.mark.few(1)
@pytest.mark.parametrize("dimensions", [2, 1])
def test_learns_a_mixture(dimensions):
    """A normal distribution with the mixture's moments has a distance of 0.2.

    Spectral normalization keeps the game in balance, in which modes would come and go.
    """
    keras.utils.set_random_seed(1)
    steps = [
        step
        for _ in range(2)
        for step in (
            keras.layers.SpectralNormalization(keras.layers.Dense(64)),
            keras.layers.LeakyReLU(0.2),
        )
    ]
    trainer = trainers.GAN(
        dense(32, 32, dimensions, inputs=2),
        keras.Sequential([keras.layers.Input((dimensions,)), *steps, keras.layers.Dense(1)]),
        latent_dim=2,
        discriminator_steps=2,
        ema_momentum=0.98,
    )
    rate = keras.optimizers.schedules.CosineDecay(1.5e-3, 400)
    trainer.compile(
        {
            "generator": keras.optimizers.Adam(rate, beta_1=0.5),
            "discriminator": keras.optimizers.Adam(4e-3, beta_1=0.5),
        }
    )
    trainer.fit(mixture(dimensions, 4096), batch_size=512, epochs=45, verbose=0)
    samples = np.asarray(trainer.sample(2000, seed=0))
    assert distance(samples, mixture(dimensions, 2000, seed=1)) < 0.14
