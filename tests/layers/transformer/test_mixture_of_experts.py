"""Mixtures of experts, compared with NumPy: one token, choice and expert at a time."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from tests.losses.gradients import compiled_value_and_gradients, value_and_gradients


class TestConformance(TestCase):
    def test_dense_and_top_k(self):
        for arguments in ({"use_bias": False}, {"top_k": 2}):
            self.run_layer_test(
                layers.MixtureOfExperts,
                init_kwargs={"num_experts": 3, "hidden_dim": 7, **arguments},
                input_shape=(2, 4, 5),
                expected_output_shape=(2, 4, 5),
                expected_num_trainable_weights=3 if "use_bias" in arguments else 5,
                supports_masking=True,
            )


def randomized(rng, x, **arguments):
    """A layer of 4 experts with random weights, biases included."""
    layer = layers.MixtureOfExperts(4, 6, "relu", **arguments)
    layer.build(x.shape)
    layer.set_weights([rng.normal(size=one.shape) for one in layer.weights])
    return layer


def formula(layer, x, mask=None):
    """Outputs, and the loss without its weight."""
    weights = {one.name: ops.convert_to_numpy(one).astype("float64") for one in layer.weights}
    scores = np.exp(x @ weights["kernel"])
    p = scores / scores.sum(-1, keepdims=True)
    k = layer.top_k or 4
    y = np.zeros(x.shape)
    tokens = x.shape[1]
    capacity = math.ceil(layer.capacity_factor * k * tokens / 4 - 1e-6)
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    choices = np.zeros(4)
    for g in range(len(x)):
        used = np.zeros(4)
        for rank in range(k):
            for t in np.flatnonzero(mask[g]):
                order = np.argsort(-p[g, t])
                e = order[rank]
                choices[e] += 1
                used[e] += 1
                if layer.top_k and used[e] > capacity:
                    continue
                weight = p[g, t, e]
                if layer.top_k and k > 1:
                    weight /= p[g, t, order[:k]].sum()
                h = np.maximum(x[g, t] @ weights["hidden_kernel"][e] + weights["hidden_bias"][e], 0)
                y[g, t] += weight * (h @ weights["output_kernel"][e] + weights["output_bias"][e])
    return y, 4 * np.sum(choices / choices.sum() * p[mask].mean(0))


@pytest.mark.parametrize("top_k", [None, 1, 2, 4])
def test_equals_the_formula(rng, top_k):
    x = rng.normal(size=(3, 8, 5))
    layer = randomized(rng, x, top_k=top_k, capacity_factor=0.75, load_balance=0.5)
    expected, imbalance = formula(layer, x)
    y = layer(x.astype("float32"), training=True)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    if top_k:
        np.testing.assert_allclose(layer.losses[0], 0.5 * imbalance, rtol=1e-4)
    layer(x.astype("float32"))
    assert not layer.losses


def test_padding_takes_no_place(rng):
    x, mask = rng.normal(size=(2, 8, 5)), rng.uniform(size=(2, 8)) > 0.4
    layer = randomized(rng, x, top_k=2, capacity_factor=0.5, load_balance=1.0)
    expected, imbalance = formula(layer, x, mask)
    y = layer(x.astype("float32"), mask=mask, training=True)
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(layer.losses[0], imbalance, rtol=1e-4)


def test_vectors_are_tokens_of_one_example(rng):
    x = rng.normal(size=(8, 5)).astype("float32")
    layer = randomized(rng, x, top_k=2)
    np.testing.assert_allclose(layer(x), layer(x[None])[0], rtol=1e-5)


def test_all_experts_chosen_are_the_dense_mixture(rng):
    x = rng.normal(size=(2, 8, 5)).astype("float32")
    dense = randomized(rng, x)
    chosen = randomized(rng, x, top_k=4, capacity_factor=1.0)
    chosen.set_weights(dense.get_weights())
    np.testing.assert_allclose(chosen(x), dense(x), rtol=1e-3, atol=1e-4)


def test_gradients_when_compiled(rng):
    x = rng.normal(size=(2, 8, 5)).astype("float32")
    layer = randomized(rng, x, top_k=1)
    run = [
        one(lambda x: ops.sum(ops.square(layer(x))), x)
        for one in (value_and_gradients, compiled_value_and_gradients)
    ]
    np.testing.assert_allclose(run[0][0], run[1][0], rtol=1e-4)
    np.testing.assert_allclose(run[0][1], run[1][1], rtol=1e-3, atol=1e-3)
    # the weight of a single expert is its probability, so that the router learns
    assert np.any(np.abs(run[0][1][0]) > 0)


def test_is_a_part_of_a_transformer_block(rng, tmp_path):
    part = layers.MixtureOfExperts(4, 16, top_k=2)
    block = layers.TransformerEncoderBlock(2, 16, feed_forward=part)
    inputs = keras.Input((6, 8))
    model = keras.Model(inputs, block(inputs))
    x = rng.normal(size=(3, 6, 8)).astype("float32")
    y = model(x, training=True)
    assert y.shape == x.shape and len(model.losses) == 1
    model.save(tmp_path / "block.keras")
    copy = keras.saving.load_model(tmp_path / "block.keras")
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-5, atol=1e-6)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="`num_experts` must be an integer of at least 2"):
        layers.MixtureOfExperts(1, 8)
    with pytest.raises(ValueError, match="`top_k` must be at most `num_experts`"):
        layers.MixtureOfExperts(2, 8, top_k=3)
    with pytest.raises(ValueError, match="`capacity_factor` must be a positive number"):
        layers.MixtureOfExperts(2, 8, capacity_factor=0)
    with pytest.raises(ValueError, match="known width"):
        layers.MixtureOfExperts(2, 8).build((2, 3, None))
