import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.contrastive.test_clip_loss import check_open_clip, chunked, of_open_clip, pairs
from tests.losses.gradients import (
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

GROUPS = np.array([5, -1, 5, 2, -1, 2, 5, 9])


def formula(images, texts, temperature, bias, groups=None):
    """Minus the log of the sigmoid of all signed logits, in float64, added up for each image."""
    images, texts = (
        x.astype("float64") / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)
    )
    match = np.eye(len(images), dtype=bool)
    if groups is not None:
        match |= (groups[:, None] == groups) & (groups >= 0)
    logits = images @ texts.T / temperature + bias
    return np.logaddexp(0, np.where(match, -logits, logits)).sum(axis=1)


@pytest.mark.parametrize(
    "groups", [None, GROUPS, GROUPS[:, None]], ids=["pairs", "groups", "column"]
)
@chunked
def test_equals_the_formula(rng, chunk_size, groups):
    images, texts = pairs(rng)
    flat = None if groups is None else groups.reshape(-1)
    expected = formula(images, texts, 0.2, -3.0, flat)
    values = losses.sig_lip(images, texts, 0.2, -3.0, chunk_size, groups)
    np.testing.assert_allclose(values, expected, rtol=2e-6)
    loss = losses.SigLIPLoss(0.2, -3.0, chunk_size)
    np.testing.assert_allclose(loss(images, texts, group_ids=groups), expected.mean(), rtol=2e-6)


@chunked
@of_open_clip("sig_lip")
def test_equals_open_clip(case, chunk_size):
    check_open_clip(losses.SigLIPLoss(chunk_size=chunk_size), case)


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["pairs", "groups"])
@chunked
def test_gradients_equal_finite_differences(rng, chunk_size, groups):
    images, texts = pairs(rng)
    loss = losses.SigLIPLoss(chunk_size=chunk_size)
    scalars = np.float32(0.3), np.float32(-2.0)
    _, gradients = value_and_gradients(
        lambda u, v, t, b: loss(u, v, temperature=t, bias=b, group_ids=groups),
        images,
        texts,
        *scalars,
    )
    inputs = [images.astype("float64"), texts.astype("float64"), *map(np.float64, scalars)]
    for number, gradient in enumerate(gradients):
        direction = rng.normal(size=np.shape(gradient))
        values = []
        for sign in (1, -1):
            moved = list(inputs)
            moved[number] = moved[number] + sign * 1e-5 * direction
            values.append(formula(*moved, groups).mean())
        slope = (values[0] - values[1]) / 2e-5
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-4, atol=1e-5)


def test_order_of_pairs_does_not_matter(rng):
    images, texts = pairs(rng)
    order = rng.permutation(8)
    values = losses.sig_lip(images, texts, group_ids=GROUPS)
    moved = losses.sig_lip(images[order], texts[order], group_ids=GROUPS[order])
    np.testing.assert_allclose(moved, ops.convert_to_numpy(values)[order], rtol=1e-5)


@chunked
@pytest.mark.parametrize("fill", [0.0, -3e38])
def test_extreme_values_stay_finite(rng, fill, chunk_size):
    images, texts = pairs(rng)
    images[0], texts[1] = fill, fill
    loss = losses.SigLIPLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(loss, images, texts)
    assert np.isfinite(value) and all(np.all(np.isfinite(g)) for g in gradients)


def test_half_precision_is_computed_in_float32(rng):
    inputs = [ops.cast(x * 1e4, "float16") for x in pairs(rng)]
    wide = [ops.convert_to_numpy(ops.cast(x, "float32")) for x in inputs]
    scalars = {"temperature": ops.cast(0.5, "float16"), "bias": ops.cast(-10.0, "float16")}
    value = losses.SigLIPLoss()(*inputs, **scalars)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(*wide, 0.5, -10.0).mean(), rtol=1e-5)


@pytest.mark.parametrize("chunk_size", [None, 3])
def test_compiled_equals_uncompiled(rng, chunk_size):
    loss, inputs = losses.SigLIPLoss(chunk_size=chunk_size), pairs(rng)
    value, gradients = value_and_gradients(loss, *inputs)
    jit_value, jit_gradients = compiled_value_and_gradients(loss, *inputs)
    np.testing.assert_allclose(jit_value, value, rtol=1e-6)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-4, atol=1e-6)


@chunked
def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas, chunk_size):
    inputs = pairs(rng)
    loss = losses.SigLIPLoss(temperature=0.3, bias=-1.0, chunk_size=chunk_size)
    value, gradients = value_and_gradients(lambda u, v: loss(u, v, group_ids=GROUPS), *inputs)

    def of_groups(u, v, ids):
        value = loss(u, v, group_ids=ops.cast(ids, "int32"))
        return value + 0 * ops.sum(ids)  # a gradient for the helper, which takes floats alone

    values, whole = replica_values_and_gradients(
        two_replicas, of_groups, *inputs, GROUPS.astype("float32")
    )
    np.testing.assert_allclose(sum(values), value, rtol=1e-6)
    for gradient, expected in zip(whole[:2], gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_groups_are_told_apart_in_any_dtype():
    """Half precision cannot count to the number of groups."""
    z = np.eye(4, dtype="float32")[np.arange(600) % 4]
    ids = np.arange(600)
    for make in (losses.SigLIPLoss, losses.CLIPLoss):
        expected = float(make()(z, z, group_ids=ids))
        assert float(make(dtype="bfloat16")(z, z, group_ids=ids)) == pytest.approx(expected)


def test_config_round_trip(rng):
    loss = losses.SigLIPLoss(0.3, -2.0, chunk_size=3, reduction="sum", name="pairs")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, losses.SigLIPLoss) and copy.get_config() == loss.get_config()
    inputs = pairs(rng)
    np.testing.assert_allclose(copy(*inputs), loss(*inputs))


def test_bad_input():
    good, loss = np.ones((4, 3), "float32"), losses.SigLIPLoss()
    with pytest.raises(ValueError, match=r"`images` and `texts`.*same shape"):
        loss(good, good[:3])
    with pytest.raises(ValueError, match="needs negatives"):
        losses.sig_lip(good[:1], good[:1])
    with pytest.raises(ValueError, match="`temperature`"):
        loss(good, good, temperature=-1.0)
    with pytest.raises(TypeError, match="`bias`"):
        loss(good, good, bias="warm")
    with pytest.raises(ValueError, match="`bias` must be a scalar"):
        loss(good, good, bias=ops.ones((2,)))
    with pytest.raises(ValueError, match=r"`group_ids` must have shape \(batch,\)"):
        loss(good, good, group_ids=np.arange(3))
    with pytest.raises(TypeError, match="dtype of `group_ids` must be integer"):
        loss(good, good, group_ids=np.ones(4, "float32"))
