import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import layers, losses
from keras_ssl.ops import l2_normalize
from tests.losses import formulas
from tests.losses.gradients import replica_values_and_gradients, value_and_gradients

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "newest_losses.json").read_text())
STEPS = REFERENCE["tico"]


def inputs(rng, examples=6, dim=4):
    z, targets = rng.normal(size=(2, examples, dim)).astype("float32")
    root = rng.normal(size=(dim, dim)).astype("float32")
    return z, targets, root @ root.T / 10


def test_steps_equal_lightly():
    covariance, loss = layers.MovingCovariance(0.8), losses.TiCoLoss(6.0)
    for step in STEPS:
        z1, z2, expected = (np.array(step[name], "float32") for name in ("z1", "z2", "c"))
        c = covariance(l2_normalize(z1), training=True)
        np.testing.assert_allclose(c, expected, rtol=1e-5, atol=1e-7)
        value, gradients = value_and_gradients(lambda *z, c=c: loss(*z, c), z1, z2)
        np.testing.assert_allclose(value, step["loss"], rtol=2e-6)
        for gradient, other in zip(gradients, step["gradients"], strict=True):
            np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-6)


def test_value_and_gradient_equal_the_formula(rng):
    z, targets, c = inputs(rng)
    np.testing.assert_allclose(losses.tico(z, targets, c, 3.0), formulas.tico(z, targets, c, 3.0))

    def formula(*views):
        return formulas.tico(*views, c.astype("float64")).mean()

    loss = losses.TiCoLoss()
    _, gradients = value_and_gradients(lambda *views: loss(*views, c), z, targets)
    expected = formulas.finite_differences(formula, z, targets)
    for gradient, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-6)


def test_covariance_gets_no_gradient(rng):
    z, targets, c = inputs(rng)
    _, (gradient,) = value_and_gradients(
        lambda c: losses.TiCoLoss()(z, targets, c) + ops.sum(0 * c), c
    )
    np.testing.assert_array_equal(gradient, np.zeros((4, 4)))


def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas):
    z, targets, _ = inputs(rng)
    with two_replicas.scope():
        covariance = layers.MovingCovariance(0.5)
        covariance.build((3, 4))
    alone, loss = layers.MovingCovariance(0.5), losses.TiCoLoss()

    def function(layer):
        return lambda z, t: loss(z, t, layer(l2_normalize(z), training=True))

    for _ in range(2):
        value, gradients = value_and_gradients(function(alone), z, targets)
        values, whole = replica_values_and_gradients(two_replicas, function(covariance), z, targets)
        np.testing.assert_allclose(sum(values), value, rtol=1e-5)
        for gradient, expected in zip(whole, gradients, strict=True):
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    kept = [
        one.numpy() for one in two_replicas.experimental_local_results(covariance.covariance.value)
    ]
    np.testing.assert_array_equal(kept[0], kept[1])
    np.testing.assert_allclose(kept[0], alone.covariance, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e35])
def test_extreme_lengths_stay_finite(rng, scale):
    z, targets, c = inputs(rng)
    value, gradients = value_and_gradients(
        lambda *views: losses.TiCoLoss()(*views, c), z * np.float32(scale), targets
    )
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(one)) for one in gradients)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, dtype):
    z, targets, c = (ops.cast(x, dtype) for x in inputs(rng))
    wide = [ops.convert_to_numpy(ops.cast(x, "float32")) for x in (z, targets, c)]
    value = losses.TiCoLoss()(z, targets, c)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formulas.tico(*wide).mean(), rtol=1e-5)


def test_reduction_weights_and_config(rng):
    z, targets, c = inputs(rng)
    values = formulas.tico(z, targets, c, 2.0)
    loss = losses.TiCoLoss(2.0, reduction="sum", name="contrast")
    np.testing.assert_allclose(loss(z, targets, c), values.sum(), rtol=1e-5)
    weights = np.array([1, 0, 2, 0, 0, 0], "float32")
    np.testing.assert_allclose(
        loss(z, targets, c, sample_weight=weights), weights @ values, rtol=1e-5
    )
    copy = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert copy.get_config() == loss.get_config()


def test_bad_inputs(rng):
    z, targets, c = inputs(rng)
    for loss in (losses.TiCoLoss(), losses.tico):
        with pytest.raises(ValueError, match=r"`z` and `targets` must have the same shape"):
            loss(z, targets[:3], c)
        with pytest.raises(ValueError, match=r"`covariance` must be that of the embeddings.*3, 3"):
            loss(z, targets, c[:3, :3])
        with pytest.raises(TypeError, match="dtype of `z` must be floating-point"):
            loss(z.astype("int32"), targets, c)
    with pytest.raises(ValueError, match="`contrast_weight` must be a number of at least 0"):
        losses.TiCoLoss(-1)
    with pytest.raises(TypeError, match="`contrast_weight` must be a number"):
        losses.tico(z, targets, c, "8")
