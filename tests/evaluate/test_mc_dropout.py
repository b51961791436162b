"""Monte-Carlo dropout, beside closed forms of linear models and of two predictions."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax
from scipy.stats import entropy

from keras_ssl import evaluate, layers

X = np.array([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0], [0.0, 0.0, 0.0], [0.3, 0.3, 2.0]], "float32")
KERNEL, BIAS = np.array([[0.5], [1.5], [-1.0]]), np.array([0.7])


def linear(*before):
    """A linear map of three inputs after other layers."""
    model = keras.Sequential([keras.Input((3,)), *before, keras.layers.Dense(1)])
    model.layers[-1].set_weights([KERNEL, BIAS])
    return model


def normalized(*others):
    """A model that begins with batch normalization, which has statistics of its own."""
    model = keras.Sequential([keras.layers.BatchNormalization(epsilon=1e-3), *others])
    # γ, β, μ, σ²
    values = [[1.0, 2.0, 0.5], [0.1, 0.2, 0.3], [0.5, -0.5, 0.0], [1.5, 0.5, 3.0]]
    model.build((None, 4, 3) if others else (None, 3))
    model.layers[0].set_weights([np.array(one) for one in values])
    return model


def moments(model, x=X, copies=500, samples=20):
    """Means and standard deviations of the outputs, from many copies of each example."""
    x = np.repeat(x, copies, axis=0)
    found = evaluate.mc_dropout(model, x, samples, batch_size=600, task="regression")
    assert sorted(found) == ["mean", "std"]
    mean, std = (found[name].astype("float64").reshape(-1, copies) for name in ("mean", "std"))
    # the root of the mean squared difference is that of `samples - 1` free ones
    return mean.mean(axis=1), np.sqrt(np.mean(std**2, axis=1) * samples / (samples - 1))


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_linear_model_has_the_mean_and_variance_of_its_inputs_dropout(rate):
    mean, std = moments(linear(keras.layers.Dropout(rate)))
    expected = np.sqrt(((X.astype("float64") ** 2) @ KERNEL**2)[:, 0] * rate / (1 - rate))
    np.testing.assert_allclose(mean, (X @ KERNEL + BIAS)[:, 0], atol=0.05 * expected.max())
    np.testing.assert_allclose(std, expected, rtol=0.04)


def test_forms_of_data():
    model = linear(keras.layers.Dropout(0.5))
    options = {"samples": 3, "batch_size": 3, "task": "regression"}
    expected = evaluate.mc_dropout(model, X, **options)
    assert expected["mean"].dtype == "float32" and expected["mean"].shape == (4, 1)
    for x in ((X, np.zeros(4)), tf.data.Dataset.from_tensor_slices((X, np.zeros(4))).batch(3)):
        found = evaluate.mc_dropout(model, x, **options)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_batch_normalization_uses_its_moving_statistics_and_noise_is_off():
    model = linear(normalized(), keras.layers.GaussianNoise(1.0), keras.layers.Dropout(0.25))
    found, deviation = moments(model)
    gamma, beta, mean, variance = (np.asarray(one) for one in model.layers[0].get_weights())
    h = gamma * (X - mean) / np.sqrt(variance + 1e-3) + beta
    std = np.sqrt(h**2 @ KERNEL**2 / 3)[:, 0]
    np.testing.assert_allclose(found, (h @ KERNEL + BIAS)[:, 0], atol=0.05 * std.max())
    np.testing.assert_allclose(deviation, std, rtol=0.04)


@pytest.mark.parametrize("from_logits", [True, False])
def test_entropies_of_two_equally_likely_predictions(from_logits):
    # the input is 2 or 0, so that a prediction is the softmax of the kernel twice, or of the bias
    kernel, bias = np.array([[0.5, 1.0, -0.5]]), np.array([0.0, -0.5, 1.0])
    activation = None if from_logits else "softmax"
    model = keras.Sequential([keras.layers.Dropout(0.5), keras.layers.Dense(3, activation)])
    model.build((None, 1))
    model.layers[-1].set_weights([kernel, bias])
    x = np.ones((200, 1), "float32")
    found = evaluate.mc_dropout(model, x, 300, from_logits=from_logits)
    assert found["entropy"].shape == found["mutual_information"].shape == (200,)
    found = {name: one.mean(axis=0) for name, one in found.items()}
    each = softmax(np.stack([2 * kernel[0] + bias, bias]), axis=-1)
    whole = entropy(each.mean(axis=0))
    np.testing.assert_allclose(found["mean"], each.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(found["std"], each.std(axis=0), atol=0.01)
    np.testing.assert_allclose(found["entropy"], whole, atol=0.01)
    information = whole - entropy(each, axis=-1).mean()
    np.testing.assert_allclose(found["mutual_information"], information, atol=0.01)


def test_one_output_is_the_probability_of_the_second_of_two_classes():
    two = keras.Sequential([keras.layers.Dropout(0.5, seed=0), keras.layers.Dense(2)])
    one = keras.Sequential([keras.layers.Dropout(0.5, seed=0), keras.layers.Dense(1)])
    for model, kernel in ((two, [[0.0, 1.5]]), (one, [[1.5]])):
        model.build((None, 1))
        model.layers[-1].kernel.assign(kernel)
    options = {"samples": 20, "from_logits": True}
    of_two, of_one = (evaluate.mc_dropout(model, X[:, :1], **options) for model in (two, one))
    np.testing.assert_allclose(of_one["mean"][:, 0], of_two["mean"][:, 1], rtol=1e-5)
    for name in ("entropy", "mutual_information"):
        np.testing.assert_allclose(of_one[name], of_two[name], rtol=1e-4, atol=1e-6)


class Subclassed(keras.Model):
    """A model with dropout in a layer of a layer, which says itself what mode it is in."""

    def __init__(self):
        super().__init__()
        self.inner = keras.Sequential([keras.Sequential([keras.layers.Dropout(0.5)])])

    def call(self, x, training=False):
        return self.inner(x, training=training)


class SelfAttention(keras.layers.Layer):
    """Calls a layer on its input, in all of its arguments."""

    def __init__(self, layer, arguments):
        super().__init__()
        self.layer, self.arguments = layer, arguments

    def call(self, x):
        return self.layer(*self.arguments(x))


KINDS = {
    "Dropout": lambda: keras.layers.Dropout(0.5),
    "GaussianDropout": lambda: keras.layers.GaussianDropout(0.5),
    "AlphaDropout": lambda: keras.layers.AlphaDropout(0.5),
    "SpatialDropout1D": lambda: keras.layers.SpatialDropout1D(0.5),
    "DropPath": lambda: layers.DropPath(0.5),
    "nested": lambda: keras.Sequential([keras.Sequential([keras.layers.Dropout(0.5)])]),
    "functional": lambda: keras.Model(
        inputs := keras.Input((4, 3)), keras.layers.Dropout(0.5)(inputs, training=False)
    ),
    "subclassed": Subclassed,
    "TimeDistributed": lambda: keras.layers.TimeDistributed(keras.layers.Dropout(0.5)),
    "keras attention": lambda: SelfAttention(
        keras.layers.MultiHeadAttention(2, 3, dropout=0.5), lambda x: (x, x)
    ),
    "attention": lambda: layers.MultiHeadAttention(3, dropout_rate=0.5),
    "dot attention": lambda: SelfAttention(
        keras.layers.Attention(dropout=0.5), lambda x: ([x, x],)
    ),
    "LSTM": lambda: keras.layers.LSTM(3, dropout=0.5),
    "GRU": lambda: keras.layers.Bidirectional(keras.layers.GRU(3, recurrent_dropout=0.5)),
    "cells": lambda: keras.layers.RNN([keras.layers.SimpleRNNCell(3, dropout=0.5)]),
    "our cell": lambda: layers.RecurrentLayer(keras.layers.LSTMCell(3, dropout=0.5)),
    "block": lambda: layers.TransformerEncoderBlock(1, 6, drop_path_rate=0.5),
}
FEW = ("Dropout", "DropPath", "subclassed", "keras attention", "attention", "LSTM")


@pytest.mark.parametrize(
    "kind", [one if one in FEW else pytest.param(one, marks=pytest.mark.full) for one in KINDS]
)
def test_every_kind_of_dropout_and_nothing_that_changes(kind, rng):
    keras.utils.set_random_seed(0)
    model = normalized(KINDS[kind]())
    x = rng.normal(size=(6, 4, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    before = [np.array(one) for one in model.variables]
    numbers = np.random.get_state()[1].copy()
    trainable = [one.trainable for one in model._flatten_layers()]
    options = {"samples": 20, "task": "regression"}
    found = evaluate.mc_dropout(model, x, **options)
    assert found["mean"].shape == expected.shape
    assert np.mean(found["std"] > 0) > 0.9
    again = evaluate.mc_dropout(model, x, **options)
    np.testing.assert_array_equal(found["std"], again["std"])
    other = evaluate.mc_dropout(model, x, seed=1, **options)
    assert np.mean(found["mean"] != other["mean"]) > 0.2  # few masks, and equal counts by chance
    for one, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(one, value)
    np.testing.assert_array_equal(model(x, training=False), expected)
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)
    assert trainable == [one.trainable for one in model._flatten_layers()]
    assert all("call" not in vars(one) for one in model._flatten_layers())


def test_a_model_that_has_not_been_called_and_pixels(rng):
    model = keras.Sequential(
        [keras.layers.Flatten(), keras.layers.Dropout(0.5), keras.layers.Dense(2, "softmax")]
    )
    images = rng.integers(0, 256, (5, 4, 4, 1)).astype("uint8")
    found = evaluate.mc_dropout(model, images, 5, batch_size=2)
    assert found["mean"].shape == (5, 2) and found["entropy"].shape == (5,)
    np.testing.assert_allclose(found["mean"].sum(axis=-1), 1, rtol=1e-5)
    assert (found["mutual_information"] <= found["entropy"] + 1e-6).all()


def test_dropout_without_effect_is_told():
    inputs = keras.Input((3,))
    dropped = keras.layers.Dropout(0.5)(inputs)
    whole = keras.Model(inputs, [keras.layers.Dense(1)(inputs), dropped])
    model = keras.Sequential([whole, keras.layers.Lambda(lambda outputs: outputs[0])])
    with pytest.warns(UserWarning, match="no effect on its output"):
        evaluate.mc_dropout(model, X, 3, task="regression")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        evaluate.mc_dropout(linear(keras.layers.Dropout(0.5)), X, 3, task="regression")


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (lambda: evaluate.raw_pixels, {}, TypeError, "must be a keras.Model"),
        (lambda: linear(), {}, ValueError, "must have dropout"),
        (lambda: linear(keras.layers.Dropout(0.0)), {}, ValueError, "must have dropout"),
        (lambda: linear(keras.layers.Dropout(0.5)), {}, ValueError, "from_logits=True"),
        (lambda: linear(keras.layers.Dropout(0.5)), {"samples": 1}, ValueError, "`samples`"),
        (lambda: linear(keras.layers.Dropout(0.5)), {"task": "both"}, ValueError, "`task`"),
        (lambda: linear(keras.layers.Dropout(0.5)), {"seed": -1}, ValueError, "`seed`"),
        (
            lambda: keras.Model(i := keras.Input((3,)), [keras.layers.Dropout(0.5)(i), i]),
            {},
            TypeError,
            "must return one tensor",
        ),
    ],
)
def test_wrong_arguments(make, options, error, message):
    model = make()
    with pytest.raises(error, match=message):
        evaluate.mc_dropout(model, X, **options)
    if isinstance(model, keras.layers.Layer):
        assert all("call" not in vars(one) for one in model._flatten_layers())
