import tracemalloc
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

from keras_ssl import evaluate, networks
from keras_ssl.evaluate._tokens import mean_and_scale
from keras_ssl.evaluate.attentive_probe import _classifier
from tests.evaluate.fashion import fashion
from tests.evaluate.test_fine_tune import draws

IDENTITY = keras.layers.Identity()


def feature_maps():
    """A convolutional encoder with random weights, and what it makes of images."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
        ]
    )
    data = fashion("train[:2000]"), fashion("test[:1000]")
    return [(encoder.predict(x.astype("float32"), verbose=0), y) for x, y in data]


@pytest.mark.full
def test_beats_a_linear_probe_of_the_mean_token():
    train, test = feature_maps()
    means = [(x.mean((1, 2)), y) for x, y in (train, test)]
    linear = evaluate.linear_probe(evaluate.raw_pixels, *means)
    accuracy = evaluate.attentive_probe(IDENTITY, train, test, batch_size=200)
    assert isinstance(accuracy, float)
    assert accuracy > max(linear + 0.05, 0.5)  # chance is 0.1


@cache
def tokens():
    """Tokens, one of which tells the class in its first number; classes 0, 1 and 2."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 6, 8)), np.arange(24) % 3
    x[np.arange(24), rng.integers(0, 6, 24), 0] += 6.0 * (y - 1)
    return x.astype("float32"), y


def probe(train, encoder=IDENTITY, **arguments):
    arguments = {"num_heads": 2, "epochs": 3, "batch_size": 8, **arguments}
    return evaluate.attentive_probe(encoder, train, train, **arguments)


@cache
def accuracy_on_tokens():
    accuracy = probe(tokens())
    assert 0.4 < accuracy < 1.0
    return accuracy


def test_logits_equal_the_formula(rng):
    x, _ = tokens()
    model = _classifier(2, 3, x.shape[1:])
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    w = {v.name: v.numpy().astype("float64") for v in model.weights}
    q = (w["query"] @ w["query_kernel"] + w["query_bias"]).reshape(2, 4)
    keys, values = np.split(x @ w["key_value_kernel"] + w["key_value_bias"], 2, axis=-1)
    keys, values = (one.reshape(24, 6, 2, 4) for one in (keys, values))
    scores = softmax(np.einsum("hd,nthd->nht", q, keys) / np.sqrt(4), axis=-1)
    heads = np.einsum("nht,nthd->nhd", scores, values).reshape(24, 8)
    pooled = heads @ w["output_kernel"] + w["output_bias"]
    np.testing.assert_allclose(model(x), pooled @ w["kernel"] + w["bias"], rtol=1e-4, atol=1e-4)


def test_classifier_is_float32_under_every_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = _classifier(2, 3, (5, 8))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_tokens_are_standardised_and_maps_are_flattened(rng):
    x, y = tokens()
    scale, shift = 2.0 ** rng.integers(-3, 4, 8), rng.normal(size=8)
    changed = (x * scale + shift).reshape(-1, 2, 3, 8)
    assert probe((changed, y)) == pytest.approx(accuracy_on_tokens(), abs=1 / 24)


def test_statistics_of_tokens_need_no_copy_of_them(rng):
    tokens = rng.normal(1000, 0.5, size=(400, 9, 64)).astype("float32")
    tokens[..., 3] = 2.0
    tracemalloc.start()
    mean, scale = mean_and_scale(tokens)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < tokens.nbytes / 4
    exact = tokens.astype("float64")
    np.testing.assert_allclose(mean, exact.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(scale, np.where(np.arange(64) == 3, 1, exact.std((0, 1))), 1e-9)


@pytest.mark.full
def test_patch_tokens_of_a_vision_transformer():
    x, y = fashion("train[:32]")
    encoder = networks.vit((8, 1, 2), (28, 28, 1), 7, registers=1, seed=0)
    tokens = encoder(x.astype("float32"), return_intermediates=True)["patch_tokens"].numpy()
    weights = encoder.get_weights()
    accuracy = probe((x, y), encoder=encoder, epochs=2)
    assert accuracy == pytest.approx(probe((tokens, y), epochs=2), abs=1 / 32)
    for old, new in zip(weights, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.full
def test_seed_determines_the_result_and_the_random_state_of_the_caller_is_kept():
    keras.utils.set_random_seed(8)
    expected = draws()
    keras.utils.set_random_seed(8)
    assert probe(tokens()) == accuracy_on_tokens()
    assert draws() == expected
    assert probe(tokens(), seed=1) != accuracy_on_tokens()


def test_datasets_and_examples_without_a_label():
    x, y = tokens()
    x, y = np.concatenate([x, x + 100]), np.concatenate([y, np.full(24, -1)])
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(7)
    assert probe(data) == accuracy_on_tokens()


def test_labels_that_are_strings_and_other_metrics():
    x, y = tokens()
    constant = np.concatenate([x, np.ones((24, 6, 2))], axis=-1)  # a number of variance 0
    data = constant, np.array(["a", "b", "c"])[y]
    assert probe(data, epochs=1, metric="top_3_accuracy") == 1.0


X, Y = np.random.default_rng(0).normal(size=(8, 3, 4)).astype("float32"), np.arange(8) % 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": evaluate.raw_pixels}, ValueError, "must return tokens.*linear_probe"),
        ({"encoder": lambda x: {"a": x, "b": x}}, TypeError, "must return one tensor"),
        ({"encoder": 3}, TypeError, "`encoder` must be a keras.Model"),
        ({"num_heads": 3}, ValueError, "`num_heads` must be a divisor of the width.*width 4"),
        ({"num_heads": 2.0}, TypeError, "`num_heads`"),
        ({"epochs": 0}, ValueError, "`epochs` must be a positive integer"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"metric": "r2"}, ValueError, "`metric` must be one of"),
        ({"train": (X, Y * 0)}, ValueError, "at least two classes"),
        ({"train": X}, ValueError, "`train` must carry labels"),
        ({"test": (X, Y * 0 - 1)}, ValueError, "`test` must hold examples with a label"),
        ({"train": (X * np.nan, Y)}, ValueError, "`train` must be finite"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    given = {"encoder": IDENTITY, "train": (X, Y), "test": (X, Y), "num_heads": 2, **arguments}
    with pytest.raises(error, match=message):
        evaluate.attentive_probe(**given)
