import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.gradients import (
    BACKEND,
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "info_nce.json").read_text())
# None stores all similarities; 3 divides no batch of these tests. JAX compiles each loop anew, for
# a second; its tiles are tested in test_log_sum_exp.py and test_nt_xent.py.
chunked = pytest.mark.parametrize("chunk_size", [None, 3] if BACKEND == "tensorflow" else [None])


def formula(images, texts, temperature):
    """Cross entropies over the rows and over the columns of one matrix, in float64."""
    images, texts = (
        x.astype("float64") / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)
    )
    logits = images @ texts.T / temperature
    return np.concatenate(
        [np.log(np.sum(np.exp(logits), axis=axis)) - np.diag(logits) for axis in (1, 0)]
    )


GROUPS = np.array([5, -1, 5, 2, -1, 2, 5, 9])


def formula_of_groups(images, texts, temperature):
    """Cross entropies whose targets are equal shares of all pairs of a group, in float64."""
    images, texts = (
        x.astype("float64") / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)
    )
    target = np.eye(len(images)) + ((GROUPS[:, None] == GROUPS) & (GROUPS >= 0))
    target = (target > 0) / (target > 0).sum(axis=1, keepdims=True)
    logits = images @ texts.T / temperature
    return np.concatenate(
        [
            -(target * (one - np.log(np.exp(one).sum(axis=1, keepdims=True)))).sum(axis=1)
            for one in (logits, logits.T)
        ]
    )


def pairs(rng, examples=8, dim=5):
    images = rng.normal(size=(examples, dim)).astype("float32")
    return images, (0.5 * images + rng.normal(size=(examples, dim))).astype("float32")


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@chunked
def test_equals_the_formula(rng, chunk_size, temperature):
    images, texts = pairs(rng)
    expected = formula(images, texts, temperature)
    values = losses.clip_loss(images, texts, temperature, chunk_size)
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=3e-7 / temperature)
    value = losses.CLIPLoss(temperature, chunk_size)(images, texts)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-6, atol=1e-7 / temperature)


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@chunked
def test_pairs_of_a_group_are_positives_of_each_other(rng, chunk_size, temperature):
    images, texts = pairs(rng)
    expected = formula_of_groups(images, texts, temperature)
    values = losses.clip_loss(images, texts, temperature, chunk_size, GROUPS)
    np.testing.assert_allclose(values, expected, rtol=2e-6, atol=3e-7 / temperature)
    loss = losses.CLIPLoss(temperature, chunk_size)
    value, gradients = value_and_gradients(lambda u, v: loss(u, v, group_ids=GROUPS), images, texts)
    np.testing.assert_allclose(value, expected.mean(), rtol=2e-6)
    for number, gradient in enumerate(gradients):
        direction, moved = rng.normal(size=gradient.shape), []
        for sign in (1, -1):
            inputs = [images.astype("float64"), texts.astype("float64")]
            inputs[number] = inputs[number] + sign * 1e-5 * direction
            moved.append(formula_of_groups(*inputs, temperature).mean())
        slope = (moved[0] - moved[1]) / 2e-5
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-4, atol=1e-5)


def test_groups_of_single_pairs_change_nothing(rng):
    images, texts = pairs(rng)
    expected = losses.clip_loss(images, texts)
    for ids in (np.arange(8), np.full((8, 1), -1)):
        found = losses.clip_loss(images, texts, group_ids=ids)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@chunked
def test_groups_span_replicas(rng, two_replicas, chunk_size):
    inputs = pairs(rng)
    loss = losses.CLIPLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(lambda u, v: loss(u, v, group_ids=GROUPS), *inputs)

    def of_groups(u, v, ids):
        value = loss(u, v, group_ids=ops.cast(ids, "int32"))
        return value + 0 * ops.sum(ids)  # a gradient for the helper, which takes floats alone

    ids = GROUPS.astype("float32")
    values, whole = replica_values_and_gradients(two_replicas, of_groups, *inputs, ids)
    np.testing.assert_allclose(sum(values), value, rtol=1e-6)
    for gradient, expected in zip(whole[:2], gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@chunked
@pytest.mark.parametrize("case", REFERENCE["results"], ids=lambda case: str(case["temperature"]))
def test_equals_the_reference_with_a_learned_logit_scale(case, chunk_size):
    images, texts = (np.array(REFERENCE[name], "float32") for name in ("query", "key"))
    logit_scale = np.float32(-np.log(case["temperature"]))
    loss = losses.CLIPLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(
        lambda u, v, scale: loss(u, v, temperature=ops.exp(-scale)), images, texts, logit_scale
    )
    np.testing.assert_allclose(value, case["clip"]["loss"], rtol=2e-6)
    for gradient, expected in zip(gradients, case["clip"]["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=2e-6)


OPEN_CLIP = json.loads((Path(__file__).parents[2] / "reference" / "open_clip.json").read_text())


def of_open_clip(method):
    """Parameters for the stored results of a loss of open_clip."""
    cases = [case for case in OPEN_CLIP["losses"] if case["method"] == method]
    return pytest.mark.parametrize("case", cases, ids=lambda case: str(case["temperature"]))


def check_open_clip(loss, case):
    """Compare a loss and its gradients, also to the logarithm of the scale and to the bias."""
    scalars = [-np.log(case["temperature"])] + ([] if case["bias"] is None else [case["bias"]])

    def of_scale(images, texts, log_scale, *bias):
        more = {"bias": bias[0]} if bias else {}
        return loss(images, texts, temperature=ops.exp(-log_scale), **more)

    features = (np.array(OPEN_CLIP[name], "float32") for name in ("images", "texts"))
    value, gradients = value_and_gradients(of_scale, *features, *map(np.float32, scalars))
    np.testing.assert_allclose(value, case["loss"], rtol=1e-5)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@chunked
@of_open_clip("clip")
def test_equals_open_clip(case, chunk_size):
    check_open_clip(losses.CLIPLoss(chunk_size=chunk_size), case)


@chunked
def test_swapped_modalities_swap_the_gradients(rng, chunk_size):
    images, texts = pairs(rng)
    loss = losses.CLIPLoss(chunk_size=chunk_size)
    value, (g1, g2) = value_and_gradients(loss, images, texts)
    swapped, (h2, h1) = value_and_gradients(loss, texts, images)
    np.testing.assert_allclose(swapped, value, rtol=1e-6)
    np.testing.assert_allclose(h1, g1, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(h2, g2, rtol=1e-4, atol=1e-6)


@chunked
@pytest.mark.parametrize("fill", [0.0, -3e38])
def test_extreme_values_stay_finite(rng, fill, chunk_size):
    images, texts = pairs(rng)
    images[0], texts[1] = fill, fill
    loss = losses.CLIPLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(loss, images, texts)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(g)) for g in gradients)


@chunked
def test_half_precision_is_computed_in_float32(rng, chunk_size):
    inputs = [ops.cast(x * 1e4, "float16") for x in pairs(rng)]
    wide = [ops.convert_to_numpy(ops.cast(x, "float32")) for x in inputs]
    temperature = ops.cast(0.5, "float16")
    value = losses.CLIPLoss(chunk_size=chunk_size)(*inputs, temperature=temperature)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(*wide, 0.5).mean(), rtol=1e-5)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_compiled_equals_uncompiled(rng, chunk_size):
    loss = losses.CLIPLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(loss, *pairs(rng))
    jit_value, jit_gradients = compiled_value_and_gradients(loss, *pairs(np.random.default_rng(0)))
    np.testing.assert_allclose(jit_value, value, rtol=1e-6)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-4, atol=1e-6)


@chunked
def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas, chunk_size):
    inputs = pairs(rng)
    loss = losses.CLIPLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(loss, *inputs)
    values, whole = replica_values_and_gradients(two_replicas, loss, *inputs)
    np.testing.assert_allclose(sum(values), value, rtol=1e-6)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_config_round_trip(rng):
    loss = losses.CLIPLoss(temperature=0.3, chunk_size=3, reduction="sum", name="pairs")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, losses.CLIPLoss)
    assert copy.get_config() == loss.get_config()
    assert losses.CLIPLoss().temperature == 0.07
    np.testing.assert_allclose(copy(*pairs(rng)), loss(*pairs(np.random.default_rng(0))))


GOOD = np.ones((4, 3), "float32")


def test_bad_input():
    loss = losses.CLIPLoss()
    with pytest.raises(ValueError, match=r"`images` and `texts`.*same shape"):
        loss(GOOD, GOOD[:3])
    with pytest.raises(ValueError, match=r"`texts`.*texts=None"):
        loss(GOOD, None)
    with pytest.raises(TypeError, match="dtype of `images` must be floating-point"):
        loss(GOOD.astype("int32"), GOOD)
    with pytest.raises(ValueError, match="needs negatives"):
        losses.clip_loss(GOOD[:1], GOOD[:1])
    with pytest.raises(ValueError, match="`temperature`"):
        loss(GOOD, GOOD, temperature=-1.0)
    with pytest.raises(TypeError, match="`temperature`"):
        loss(GOOD, GOOD, temperature="warm")
    with pytest.raises(ValueError, match="`chunk_size`"):
        losses.CLIPLoss(chunk_size=0)
