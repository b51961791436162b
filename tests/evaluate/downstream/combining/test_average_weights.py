"""Averages of weights beside NumPy."""

import keras
import numpy as np
import pytest

from keras_ssl import evaluate


def model(seed, width=6, normalized=True):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Dense(width),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.1),
    ]
    if not normalized:
        layers = layers[:1]
    made = keras.Sequential([keras.Input((4,)), *layers])
    for weight in made.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(np.random.default_rng(seed).uniform(0.5, 2, size=weight.shape))
    return made


@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 3.0)])
def test_weights_are_averaged(weights):
    models = [model(seed) for seed in range(3)]
    before = [one.get_weights() for one in models]
    averaged = evaluate.average_weights(models, weights)
    for found, *parts in zip(averaged.get_weights(), *before, strict=True):
        if found.dtype == "float32":
            np.testing.assert_allclose(found, np.average(parts, axis=0, weights=weights), rtol=1e-6)
        else:
            np.testing.assert_array_equal(found, parts[0])  # the state of dropout
    for one, old in zip(models, before, strict=True):
        for found, expected in zip(one.get_weights(), old, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_linear_models_predict_the_average(rng):
    models = [model(seed, normalized=False) for seed in range(4)]
    x = rng.normal(size=(7, 4)).astype("float32")
    expected = np.mean([one(x) for one in models], axis=0)
    np.testing.assert_allclose(evaluate.average_weights(models)(x), expected, atol=1e-5)


def test_batch_statistics_are_those_of_the_averaged_weights(rng):
    models = [model(seed) for seed in range(2)]
    x = (5 * rng.normal(size=(300, 4)) + 1).astype("float32")
    averaged = evaluate.average_weights(models, data=x, batch_size=64)
    kernel, bias = (np.mean([one.get_weights()[i] for one in models], axis=0) for i in (0, 1))
    inputs = x @ kernel + bias
    normalization = averaged.layers[1]
    np.testing.assert_allclose(normalization.moving_mean, inputs.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(normalization.moving_variance, inputs.var(axis=0), rtol=1e-3)
    plain = [model(seed, normalized=False) for seed in range(2)]
    evaluate.average_weights(plain, data=x)  # without statistics, there is nothing to do


def test_half_precision_is_averaged_in_float64():
    models = []
    for value in (60000.0, 60000.0, 3.0):
        made = keras.layers.Dense(1, dtype="float16")
        made.build((None, 1))
        made.set_weights([np.full((1, 1), value), np.zeros(1)])
        models.append(made)
    found = evaluate.average_weights(models)
    assert float(found.kernel.numpy()[0, 0]) == np.float16(120003 / 3)


def test_bad_input():
    models = [model(0), model(1)]
    for wrong in (models[0], [models[0], None]):
        with pytest.raises(TypeError, match="`models` must be a list of Keras models"):
            evaluate.average_weights(wrong)
    with pytest.raises(ValueError, match="at least one model"):
        evaluate.average_weights([])
    with pytest.raises(ValueError, match="model 1 is not built"):
        evaluate.average_weights([models[0], keras.Sequential([keras.layers.Dense(2)])])
    with pytest.raises(ValueError, match=r"`.*kernel` of model 0 has shape \(4, 6\), of model 1"):
        evaluate.average_weights([models[0], model(1, width=5)])
    with pytest.raises(ValueError, match=r"model 0 has \d weights, model 1 2"):
        evaluate.average_weights([models[0], model(1, normalized=False)])
    with pytest.raises(ValueError, match="model 0 is a Sequential, model 1 a Dense"):
        evaluate.average_weights([models[0], models[1].layers[0]])
    for weights in ([1.0], [0.0, 0.0], [1.0, -1.0], [1.0, np.nan]):
        with pytest.raises(ValueError, match="`weights` must be 2 numbers"):
            evaluate.average_weights(models, weights)
