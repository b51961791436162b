import random

import keras
import numpy as np
import pytest

from keras_ssl import evaluate
from tests.evaluate.fashion import convolutional_encoder, fashion


def trained_encoder():
    """An encoder whose weights and moving statistics differ from their initial values."""
    encoder = convolutional_encoder()
    rng = np.random.default_rng(0)
    encoder.set_weights([rng.uniform(0.5, 1.5, size=w.shape) for w in encoder.get_weights()])
    return encoder


class Block(keras.layers.Layer):
    """An unregistered layer that builds its sublayers in `build`."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)
        self.norm = keras.layers.BatchNormalization()

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.norm.build((*input_shape[:-1], self.units))

    def call(self, x, training=False):
        return self.norm(self.dense(x), training=training)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Subclassed(keras.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.block = Block(units)

    def call(self, x, training=False):
        return self.block(x, training=training)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def make(kind):
    if kind == "sequential":
        return convolutional_encoder(), fashion("test[:8]")[0].astype("float32")
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    inputs = keras.Input((3,))
    encoder = {
        "layer": lambda: Block(),
        "subclassed": lambda: Subclassed(),
        "functional": lambda: keras.Model(inputs, Block()(keras.layers.Dense(5)(inputs))),
        "nested": lambda: keras.Model(inputs, keras.Sequential([Block(), Block()])(inputs)),
    }[kind]()
    encoder(x)
    return encoder, x


KINDS = ["sequential", "functional", "nested", "subclassed", "layer"]


@pytest.mark.parametrize("kind", KINDS)
def test_random_encoder_has_new_weights_and_does_not_change_the_encoder(kind):
    encoder, x = make(kind)
    encoder(x, training=True)
    before = encoder.get_weights()
    fresh = evaluate.random_encoder(encoder)
    assert [w.shape for w in fresh.weights] == [w.shape for w in encoder.weights]
    assert not np.allclose(fresh(x), encoder(x))
    for weight, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_random_encoder_is_initialized_like_a_new_one():
    fresh = evaluate.random_encoder(trained_encoder())
    norm = next(x for x in fresh.layers if isinstance(x, keras.layers.BatchNormalization))
    for weight, start in zip(norm.get_weights(), (1, 0, 0, 1), strict=True):
        np.testing.assert_array_equal(weight, np.full(16, start))
    kernels = [w for w in fresh.weights if w.name == "kernel"]
    assert len(kernels) == 2
    # Glorot's uniform: limits +-sqrt(6 / (fan in + fan out)), mean 0
    for weight in kernels:
        height, width, inputs, outputs = weight.shape
        limit = np.sqrt(6 / (height * width * (inputs + outputs)))
        values = np.asarray(weight)
        assert 0.9 * limit < np.abs(values).max() <= limit
        assert abs(values.mean()) < 0.2 * limit


def test_seed_determines_the_result():
    encoder = trained_encoder()
    first, again, other = (evaluate.random_encoder(encoder, seed) for seed in (1, 1, 2))
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(first.get_weights()[0], other.get_weights()[0])


def test_random_state_of_the_caller_is_kept():
    encoder = trained_encoder()
    random.seed(5)
    expected = random.random()
    random.seed(5)
    evaluate.random_encoder(encoder)
    assert random.random() == expected


def test_adapted_statistics_are_kept(rng):
    x = rng.normal(3, 5, size=(100, 4)).astype("float32")
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    encoder = keras.Sequential([keras.Input((4,)), normalization, keras.layers.Dense(4)])
    fresh = evaluate.random_encoder(encoder)
    np.testing.assert_allclose(np.mean(fresh.layers[0](x), axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(fresh.layers[0](x), axis=0), 1, atol=1e-5)


class MoreInConfig(keras.layers.Dense):
    """Writes more into its config than its constructor takes, as layers of KerasHub do."""

    def get_config(self):
        return {**super().get_config(), "num_patches": 16}


def test_config_with_more_than_the_constructor_takes():
    inputs = keras.Input((3,))
    encoder = keras.Model(inputs, MoreInConfig(4, activation="relu")(inputs)[:, :2])
    fresh = evaluate.random_encoder(encoder, seed=1)
    assert fresh.layers[1].activation is keras.activations.relu
    assert fresh.output_shape == (None, 2)
    assert not np.allclose(fresh.get_weights()[0], encoder.get_weights()[0])


class Secretive(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(units)

    def call(self, x):
        return self.dense(x)


@pytest.mark.filterwarnings("ignore:.*`build..`")
def test_encoder_that_cannot_be_rebuilt():
    encoder = Secretive(3)
    encoder(np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"`encoder` must .* rebuilt"):
        evaluate.random_encoder(encoder)
    with pytest.raises(TypeError, match="only these can be rebuilt"):
        evaluate.random_encoder(evaluate.raw_pixels)
