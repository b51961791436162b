import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import keras_ssl
from keras_ssl import losses
from tests.losses.gradients import compiled_value_and_gradients, value_and_gradients

BACKEND = keras.backend.backend()
LIGHTLY = json.loads((Path(__file__).parents[2] / "reference" / "nt_xent.json").read_text())
# None stores the matrix of similarities; 3 divides no batch of these tests
chunked = pytest.mark.parametrize("chunk_size", [None, 3])
only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")


def formula(z1, z2, temperature):
    """The paper's loss of every anchor, one term at a time, in float64."""
    z = np.concatenate([z1, z2]).astype("float64")
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    n = len(z1)
    values = []
    for i in range(2 * n):
        similarities = [z[i] @ z[k] / temperature for k in range(2 * n) if k != i]
        positive = z[i] @ z[(i + n) % (2 * n)] / temperature
        values.append(np.log(np.sum(np.exp(similarities))) - positive)
    return np.array(values)


def views(rng, examples=8, dim=5, dtype="float32"):
    z1 = rng.normal(size=(examples, dim))
    return z1.astype(dtype), (0.5 * z1 + rng.normal(size=(examples, dim))).astype(dtype)


@pytest.mark.parametrize("chunk_size", [None, 50])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("examples", [2, 3, 64])
def test_equals_the_formula(rng, temperature, examples, chunk_size):
    z1, z2 = views(rng, examples, dim=16)
    expected = formula(z1, z2, temperature)
    anchors = ops.convert_to_numpy(losses.nt_xent(z1, z2, temperature, chunk_size))
    assert anchors.shape == (2 * examples,)
    # what is left is float32's rounding of similarities, 6e-8, divided by the temperature
    np.testing.assert_allclose(anchors, expected, rtol=1e-6, atol=3e-7 / temperature)
    value = losses.NTXent(temperature, chunk_size)(z1, z2)
    np.testing.assert_allclose(value, expected.mean(), rtol=1e-6, atol=1e-7 / temperature)


@chunked
@only_tensorflow  # JAX has no float64 by default
def test_equals_the_formula_in_float64(rng, chunk_size):
    z1, z2 = views(rng, 32, dtype="float64")
    value = losses.NTXent(0.1, chunk_size, dtype="float64")(z1, z2)
    assert keras.backend.standardize_dtype(value.dtype) == "float64"
    np.testing.assert_allclose(value, formula(z1, z2, 0.1).mean(), rtol=1e-12)


@chunked
@pytest.mark.parametrize("case", LIGHTLY["results"], ids=lambda case: str(case["temperature"]))
def test_equals_lightly(case, chunk_size):
    z1, z2 = np.array(LIGHTLY["z1"], "float32"), np.array(LIGHTLY["z2"], "float32")
    value, gradients = value_and_gradients(losses.NTXent(case["temperature"], chunk_size), z1, z2)
    np.testing.assert_allclose(value, case["loss"], rtol=1e-6)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@chunked
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_gradient_equals_finite_differences_of_the_formula(rng, temperature, chunk_size):
    z1, z2 = views(rng, 4, dim=3)
    _, gradients = value_and_gradients(losses.NTXent(temperature, chunk_size), z1, z2)
    step = 1e-6
    for view, gradient in enumerate(gradients):
        for index in np.ndindex(*z1.shape):
            ends = []
            for sign in (1, -1):
                moved = [z1.astype("float64"), z2.astype("float64")]
                moved[view][index] += sign * step
                ends.append(formula(*moved, temperature).mean())
            expected = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(gradient[index], expected, rtol=1e-4, atol=2e-6)


@chunked
def test_swapped_views_swap_the_gradients(rng, chunk_size):
    z1, z2 = views(rng)
    value, (g1, g2) = value_and_gradients(losses.NTXent(chunk_size=chunk_size), z1, z2)
    swapped, (h2, h1) = value_and_gradients(losses.NTXent(chunk_size=chunk_size), z2, z1)
    np.testing.assert_allclose(swapped, value, rtol=1e-6)
    np.testing.assert_allclose(h1, g1, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(h2, g2, rtol=1e-4, atol=1e-6)


@chunked
def test_order_of_the_examples_does_not_matter(rng, chunk_size):
    z1, z2 = views(rng)
    order = rng.permutation(len(z1))
    values = ops.convert_to_numpy(losses.NTXent(chunk_size=chunk_size, reduction=None)(z1, z2))
    permuted = ops.convert_to_numpy(
        losses.NTXent(chunk_size=chunk_size, reduction=None)(z1[order], z2[order])
    )
    np.testing.assert_allclose(permuted, values[np.r_[order, order + 8]], rtol=1e-5, atol=1e-6)
    # only one view in another order: other positives
    assert abs(float(losses.NTXent(chunk_size=chunk_size)(z1[order], z2)) - values.mean()) > 0.1


@pytest.mark.few(3)
@chunked
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e3, 1e35])
def test_length_of_the_embeddings_does_not_matter(rng, scale, chunk_size):
    z1, z2 = views(rng)
    value, (g1, _) = value_and_gradients(losses.NTXent(chunk_size=chunk_size), z1, z2)
    scaled, (h1, _) = value_and_gradients(
        losses.NTXent(chunk_size=chunk_size), z1 * np.float32(scale), z2
    )
    np.testing.assert_allclose(scaled, value, rtol=1e-5)
    if scale < 1e35:  # there the gradient is below float32's range
        np.testing.assert_allclose(h1 * np.float32(scale), g1, rtol=1e-3, atol=1e-5)
    # length does not matter: the gradient is across the embedding
    np.testing.assert_allclose(np.sum(g1 * z1, axis=1), 0, atol=1e-5)


@chunked
def test_identical_views_have_the_closed_form(chunk_size):
    z = np.eye(4, dtype="float32")
    value, gradients = value_and_gradients(losses.NTXent(0.5, chunk_size), z, z)
    np.testing.assert_allclose(value, np.log1p(6 * np.exp(-2)), rtol=1e-6)
    assert np.all(np.isfinite(gradients))
    # all embeddings equal: nothing to tell them apart
    ones = np.ones((4, 3), "float32")
    np.testing.assert_allclose(losses.NTXent(0.1, chunk_size)(ones, ones), np.log(7), rtol=1e-6)


@pytest.mark.few(3)
@chunked
@pytest.mark.parametrize("fill", [0.0, 1e-40, 1e-20, 1e20, 3e38])
def test_extreme_values_stay_finite(rng, fill, chunk_size):
    z1, z2 = views(rng)
    z1[0] = fill
    z2[1] = -fill
    value, gradients = value_and_gradients(losses.NTXent(chunk_size=chunk_size), z1, z2)
    assert np.isfinite(value)
    if fill not in (1e-40, 1e-20):  # a true gradient of 1/fill may leave float32's range
        assert np.all(np.isfinite(gradients))
    assert not np.any(np.isnan(gradients))


@chunked
def test_zero_embeddings_have_no_gradient(rng, chunk_size):
    z1, z2 = views(rng)
    z1[0] = 0
    value, (g1, _) = value_and_gradients(losses.NTXent(chunk_size=chunk_size), z1, z2)
    assert np.isfinite(value)
    np.testing.assert_array_equal(g1[0], 0)
    assert np.all(np.any(g1[1:] != 0, axis=1))
    zeros = np.zeros_like(z1)
    value, gradients = value_and_gradients(losses.NTXent(chunk_size=chunk_size), zeros, zeros)
    np.testing.assert_allclose(value, np.log(15), rtol=1e-6)
    np.testing.assert_array_equal(gradients, 0)


@chunked
@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e6])
def test_extreme_temperatures_stay_finite(rng, temperature, chunk_size):
    z1, z2 = views(rng)
    value, gradients = value_and_gradients(losses.NTXent(temperature, chunk_size), z1, z2)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradients))


@chunked
def test_not_below_zero_when_matmul_rounds(rng, monkeypatch, chunk_size):
    matmul = ops.matmul

    def rounded(a, b):
        """A matrix product of bfloat16 numbers summed in float32, as a TPU's default."""
        return matmul(*(ops.cast(ops.cast(x, "bfloat16"), "float32") for x in (a, b)))

    # two views far from all negatives: the loss is 0 to within rounding
    z, _ = np.linalg.qr(rng.normal(size=(32, 32)))
    z = z.astype("float32")
    monkeypatch.setattr(ops, "matmul", rounded)
    values = ops.convert_to_numpy(losses.nt_xent(z, z, 0.05, chunk_size))
    assert np.min(values) >= 0
    np.testing.assert_allclose(values, 0, atol=1e-6)


@chunked
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, dtype, chunk_size):
    z1, z2 = (ops.cast(z * 1e4, dtype) for z in views(rng))  # squares overflow float16
    wide = [ops.convert_to_numpy(ops.cast(z, "float32")) for z in (z1, z2)]
    for loss in (
        losses.NTXent(chunk_size=chunk_size),
        lambda a, b: ops.mean(losses.nt_xent(a, b, chunk_size=chunk_size)),
    ):
        value = loss(z1, z2)
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        np.testing.assert_allclose(value, formula(*wide, 0.1).mean(), rtol=1e-5)


def test_mixed_precision_model_trains_on_a_float32_loss(rng):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        projector = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
        z1, z2 = (projector(z) for z in views(rng, dim=6))
        assert keras.backend.standardize_dtype(z1.dtype) == "float16"
        value = losses.NTXent()(z1, z2)
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        expected = formula(ops.convert_to_numpy(z1), ops.convert_to_numpy(z2), 0.1).mean()
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    finally:
        keras.config.set_dtype_policy(policy)


def test_reduction_and_sample_weight(rng):
    z1, z2 = views(rng)
    values = ops.convert_to_numpy(losses.nt_xent(z1, z2))
    np.testing.assert_allclose(losses.NTXent(reduction="sum")(z1, z2), values.sum(), rtol=1e-5)
    weights = rng.uniform(size=16).astype("float32")
    weighted = losses.NTXent()(z1, z2, sample_weight=weights)
    np.testing.assert_allclose(weighted, (weights * values).mean(), rtol=1e-5)


@chunked
def test_compiled_equals_uncompiled(rng, chunk_size):
    z1, z2 = views(rng)
    loss = losses.NTXent(chunk_size=chunk_size)
    value, gradients = value_and_gradients(loss, z1, z2)
    jit_value, jit_gradients = compiled_value_and_gradients(loss, z1, z2)
    np.testing.assert_allclose(jit_value, value, rtol=1e-6)
    np.testing.assert_allclose(np.array(jit_gradients), gradients, rtol=1e-4, atol=1e-6)


@chunked
@only_tensorflow
def test_unknown_batch_size(rng, chunk_size):
    import tensorflow as tf

    loss = losses.NTXent(chunk_size=chunk_size)
    signature = [tf.TensorSpec((None, 5)), tf.TensorSpec((None, 5))]
    traced = tf.function(loss, input_signature=signature)
    z1, z2 = views(rng)
    np.testing.assert_allclose(traced(z1, z2), loss(z1, z2), rtol=1e-6)
    # a last batch of a single example has nothing to learn from
    np.testing.assert_allclose(traced(z1[:1], z2[:1]), 0, atol=1e-6)


@pytest.mark.few(1)
@chunked
def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas, chunk_size):
    import tensorflow as tf

    loss = losses.NTXent(chunk_size=chunk_size)
    z1, z2 = views(rng, 8)
    value, gradients = value_and_gradients(loss, z1, z2)
    anchors = ops.convert_to_numpy(losses.nt_xent(z1, z2, chunk_size=chunk_size))
    parts = [
        two_replicas.experimental_distribute_values_from_function(
            lambda context, z=z: tf.constant(z[4 * context.replica_id_in_sync_group :][:4])
        )
        for z in (z1, z2)
    ]

    def step(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch([z1, z2])
            value = loss(z1, z2)
        return value, losses.nt_xent(z1, z2, chunk_size=chunk_size), tape.gradient(value, [z1, z2])

    value_r, anchors_r, gradients_r = tf.function(
        lambda z1, z2: two_replicas.run(step, args=(z1, z2))
    )(*parts)
    local = two_replicas.experimental_local_results
    # a Keras loss is divided by the number of replicas, so values add up
    np.testing.assert_allclose(sum(local(value_r)), value, rtol=1e-6)
    for replica, values in enumerate(local(anchors_r)):
        own = np.arange(4) + 4 * replica
        np.testing.assert_allclose(values, anchors[np.r_[own, own + 8]], rtol=1e-5, atol=1e-6)
    for view, gradient in enumerate(gradients):
        # the gather has added the gradients of each replica's loss by the other's embeddings
        both = np.concatenate(local(gradients_r[view]))
        np.testing.assert_allclose(both, gradient, rtol=1e-4, atol=1e-6)


@chunked
def test_two_replicas_update_a_shared_weight_as_one_does(rng, two_replicas, chunk_size):
    import tensorflow as tf

    z1, z2 = views(rng, 8)
    kernel = rng.normal(size=(5, 3)).astype("float32")
    loss = losses.NTXent(chunk_size=chunk_size)
    _, (expected,) = value_and_gradients(lambda k: loss(z1 @ k, z2 @ k), kernel)

    def step():
        start = 4 * tf.distribute.get_replica_context().replica_id_in_sync_group
        own = [tf.slice(z, [start, 0], [4, 5]) for z in (z1, z2)]
        weight = tf.constant(kernel)
        with tf.GradientTape() as tape:
            tape.watch(weight)
            value = loss(own[0] @ weight, own[1] @ weight)
        return tape.gradient(value, weight)

    gradient = tf.function(lambda: two_replicas.run(step))()
    total = sum(two_replicas.experimental_local_results(gradient)).numpy()
    np.testing.assert_allclose(total, expected, rtol=1e-4, atol=1e-6)


@chunked
def test_one_example_on_each_of_two_replicas_is_enough(rng, two_replicas, chunk_size):
    import tensorflow as tf

    z = tf.constant(rng.normal(size=(1, 5)).astype("float32"))
    values = tf.function(lambda: two_replicas.run(losses.nt_xent, args=(z, z, 0.1, chunk_size)))()
    for value in two_replicas.experimental_local_results(values):
        np.testing.assert_allclose(value, np.log(3), rtol=1e-5)  # four equal embeddings


def test_config_round_trip(rng):
    loss = losses.NTXent(temperature=0.3, chunk_size=3, reduction="sum", name="contrastive")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert isinstance(copy, losses.NTXent)
    assert copy.get_config() == loss.get_config()
    z1, z2 = views(rng)
    np.testing.assert_allclose(copy(z1, z2), loss(z1, z2))


def test_saves_with_a_compiled_model(rng, tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile(optimizer="sgd", loss=losses.NTXent(temperature=0.25, chunk_size=64))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.loss, keras_ssl.losses.NTXent)
    assert (loaded.loss.temperature, loaded.loss.chunk_size) == (0.25, 64)


GOOD = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("z1", "z2", "error", "message"),
    [
        (GOOD, None, ValueError, "two views.*z2=None"),
        (GOOD[0], GOOD[0], ValueError, r"`z1` must have rank 2.*\(3,\)"),
        (GOOD, GOOD[None], ValueError, r"`z2` must have rank 2.*\(1, 4, 3\)"),
        ((GOOD, GOOD), GOOD, ValueError, "`z1` must have rank 2"),
        (GOOD, GOOD[:3], ValueError, r"same shape.*\(4, 3\).*\(3, 3\)"),
        (GOOD, GOOD[:, :2], ValueError, r"same shape.*\(4, 3\).*\(4, 2\)"),
        (GOOD[:1], GOOD[:1], ValueError, r"at least 2 examples.*\(1, 3\)"),
        (GOOD.astype("int32"), GOOD, TypeError, "dtype of `z1` must be floating-point.*int32"),
        (GOOD, GOOD.astype("uint8"), TypeError, "dtype of `z2` must be floating-point.*uint8"),
    ],
)
@pytest.mark.parametrize("loss", [losses.NTXent(), losses.nt_xent], ids=["class", "function"])
def test_bad_views(loss, z1, z2, error, message):
    with pytest.raises(error, match=message):
        loss(z1, z2)


def test_a_missing_second_view_is_refused():
    with pytest.raises(TypeError, match="z2"):
        losses.NTXent()(GOOD)


@only_tensorflow
def test_bad_views_of_partly_unknown_shape():
    import tensorflow as tf

    known, unknown = tf.TensorSpec((4, 3)), tf.TensorSpec((None, 2))
    with pytest.raises(ValueError, match="same shape"):
        tf.function(losses.NTXent()).get_concrete_function(known, unknown)


@pytest.mark.parametrize("temperature", [0, -0.1, float("nan"), float("inf"), np.float32(0)])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match=f"`temperature`.*{temperature}"):
        losses.NTXent(temperature)
    with pytest.raises(ValueError, match="`temperature`"):
        losses.nt_xent(GOOD, GOOD, temperature)


@pytest.mark.parametrize("temperature", ["0.1", None, True, np.array(0.1), np.full(4, 0.1), [0.1]])
def test_temperature_of_a_wrong_type(temperature):
    with pytest.raises(TypeError, match=f"`temperature`.*of type {type(temperature).__name__}"):
        losses.NTXent(temperature)
    with pytest.raises(TypeError, match="`temperature`"):
        losses.nt_xent(GOOD, GOOD, temperature)


def test_numpy_temperature_is_saved_as_a_python_number():
    assert type(losses.NTXent(np.float32(0.5)).get_config()["temperature"]) is float
    assert losses.NTXent(1).get_config()["temperature"] == 1.0


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_bad_chunk_size(chunk_size):
    with pytest.raises(ValueError, match=f"`chunk_size` must be a positive integer.*{chunk_size}"):
        losses.NTXent(chunk_size=chunk_size)
    with pytest.raises(ValueError, match="`chunk_size`"):
        losses.nt_xent(GOOD, GOOD, chunk_size=chunk_size)


@pytest.mark.parametrize("chunk_size", [True, 2.0, "2", np.ones(1, "int32")])
def test_chunk_size_of_a_wrong_type(chunk_size):
    with pytest.raises(TypeError, match=f"`chunk_size`.*of type {type(chunk_size).__name__}"):
        losses.NTXent(chunk_size=chunk_size)
    with pytest.raises(TypeError, match="`chunk_size`"):
        losses.nt_xent(GOOD, GOOD, chunk_size=chunk_size)


def test_numpy_chunk_size_is_saved_as_a_python_integer():
    assert type(losses.NTXent(chunk_size=np.int64(64)).get_config()["chunk_size"]) is int
