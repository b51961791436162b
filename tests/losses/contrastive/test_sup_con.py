import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from keras_ssl.losses._class_numbers import class_numbers
from tests.losses import formulas
from tests.losses.gradients import (
    BACKEND,
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

chunked = pytest.mark.parametrize("chunk_size", [None, 3] if BACKEND == "tensorflow" else [None])
shapes = pytest.mark.parametrize("shape", [(8, 5), (8, 1, 5), (8, 2, 5), (8, 3, 5)], ids=str)
few_shapes = pytest.mark.parametrize("shape", [(8, 5), (8, 2, 5)], ids=str)
LABELS = np.array([4, 2, 4, 4, 2, -9, 30000, 2])  # two occur once


def embeddings(rng, shape):
    return rng.normal(size=shape).astype("float32")


@pytest.mark.few(4)
@chunked
@shapes
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_the_formula(rng, shape, temperature, chunk_size):
    z = embeddings(rng, shape)
    expected = formulas.sup_con(LABELS, z, temperature)
    values = losses.sup_con(LABELS, z, temperature, chunk_size)
    assert tuple(values.shape) == shape[:-1]
    np.testing.assert_allclose(values, expected, rtol=3e-6, atol=3e-7 / temperature)
    loss = losses.SupConLoss(temperature, chunk_size)
    np.testing.assert_allclose(loss(LABELS, z), expected.mean(), rtol=2e-6)
    np.testing.assert_allclose(loss(LABELS[:, None], z), expected.mean(), rtol=2e-6)


@chunked
@few_shapes
def test_gradient_equals_finite_differences_of_the_formula(rng, shape, chunk_size):
    z = embeddings(rng, shape)
    loss = losses.SupConLoss(0.5, chunk_size)
    _, (gradient,) = value_and_gradients(lambda z: loss(LABELS, z), z)
    (expected,) = formulas.finite_differences(lambda z: formulas.sup_con(LABELS, z, 0.5).mean(), z)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=2e-6)


@chunked
@few_shapes
def test_examples_without_a_label_are_classes_of_their_own(rng, shape, chunk_size):
    z = embeddings(rng, shape)
    labels = np.where(np.isin(np.arange(8), [0, 3, 5]), -1, LABELS)
    expected = formulas.sup_con(np.where(labels == -1, 100 + np.arange(8), labels), z, 0.2)
    values = losses.sup_con(labels, z, 0.2, chunk_size)
    np.testing.assert_allclose(values, expected, rtol=3e-6, atol=2e-6)
    loss = losses.SupConLoss(0.2, chunk_size)
    np.testing.assert_allclose(loss(labels[:, None], z), expected.mean(), rtol=2e-6)


@chunked
def test_equals_nt_xent_if_all_labels_differ(rng, chunk_size):
    z1, z2 = embeddings(rng, (8, 5)), embeddings(rng, (8, 5))
    labels = rng.permutation(8)
    values = losses.sup_con(labels, np.stack([z1, z2], axis=1), 0.2, chunk_size)
    of_nt_xent = ops.convert_to_numpy(losses.nt_xent(z1, z2, 0.2)).reshape(2, 8).T
    np.testing.assert_allclose(values, of_nt_xent, rtol=1e-5, atol=2e-6)


def test_one_class_equals_all_pairs(rng):
    z = np.eye(6, dtype="float32")
    # all similarities are 0: each positive is one of five
    np.testing.assert_allclose(losses.sup_con(np.zeros(6, "int32"), z), np.log(5), rtol=1e-6)


def test_anchors_without_positives_have_zero_loss_and_gradient(rng):
    z = embeddings(rng, (4, 5))
    value, (gradient,) = value_and_gradients(lambda z: losses.SupConLoss()(np.arange(4), z), z)
    assert value == 0
    assert not np.any(gradient)
    # as a negative of the others it still counts
    labels = np.array([0, 0, 0, 1])
    _, (gradient,) = value_and_gradients(lambda z: losses.SupConLoss(1.0)(labels, z), z)
    assert np.any(gradient[3])


def test_label_values_do_not_matter(rng):
    z = embeddings(rng, (8, 2, 5))
    value = losses.SupConLoss()(LABELS, z)
    # float32 cannot tell these apart
    renamed = 2**30 + np.unique(LABELS, return_inverse=True)[1]
    np.testing.assert_allclose(losses.SupConLoss()(renamed, z), value, rtol=1e-6)
    renamed = np.unique(LABELS, return_inverse=True)[1].astype("uint8")
    np.testing.assert_allclose(losses.SupConLoss()(renamed, z), value, rtol=1e-6)
    assert abs(float(losses.SupConLoss()(np.roll(LABELS, 1), z)) - float(value)) > 0.05


def test_classes_are_numbered():
    numbers = ops.convert_to_numpy(class_numbers(LABELS))
    np.testing.assert_array_equal(numbers, np.unique(LABELS, return_inverse=True)[1])


def test_order_does_not_matter(rng):
    z = embeddings(rng, (8, 2, 5))
    order = rng.permutation(8)
    values = ops.convert_to_numpy(losses.sup_con(LABELS, z))
    moved = losses.sup_con(LABELS[order], z[order][:, ::-1])
    np.testing.assert_allclose(moved, values[order][:, ::-1], rtol=1e-5, atol=3e-6)


@pytest.mark.few(2)
@few_shapes
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_compiled_equals_uncompiled(rng, shape, chunk_size):
    z = embeddings(rng, shape)
    loss = losses.SupConLoss(chunk_size=chunk_size)
    value, gradients = value_and_gradients(lambda z: loss(LABELS, z), z)
    jit_value, jit_gradients = compiled_value_and_gradients(lambda z: loss(LABELS, z), z)
    np.testing.assert_allclose(jit_value, value, rtol=2e-6)
    np.testing.assert_allclose(jit_gradients[0], gradients[0], rtol=1e-4, atol=2e-6)


@pytest.mark.few(2)
@few_shapes
@chunked
def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas, shape, chunk_size):
    import tensorflow as tf

    z = embeddings(rng, shape)
    loss = losses.SupConLoss(chunk_size=chunk_size)
    value, (gradient,) = value_and_gradients(lambda z: loss(LABELS, z), z)

    def own_loss(z):
        start = 4 * tf.distribute.get_replica_context().replica_id_in_sync_group
        return loss(tf.slice(LABELS, [start], [4]), z)

    values, (whole,) = replica_values_and_gradients(two_replicas, own_loss, z)
    np.testing.assert_allclose(sum(values), value, rtol=2e-6)
    np.testing.assert_allclose(whole, gradient, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("fill", [0.0, 1e20, 3e38])
def test_extreme_values_stay_finite(rng, fill):
    z = embeddings(rng, (8, 5))
    z[0] = fill
    for x in (z, np.full_like(z, fill)):
        value, (gradient,) = value_and_gradients(lambda x: losses.SupConLoss()(LABELS, x), x)
        assert np.isfinite(value)
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
def test_extreme_temperatures_stay_finite(rng, temperature):
    loss = losses.SupConLoss(temperature)
    value, (gradient,) = value_and_gradients(lambda z: loss(LABELS, z), embeddings(rng, (8, 5)))
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_sample_weight(rng):
    z = embeddings(rng, (8, 2, 5))
    values = formulas.sup_con(LABELS, z)
    weights = rng.uniform(size=8).astype("float32")
    weighted = losses.SupConLoss()(LABELS, z, sample_weight=weights)
    np.testing.assert_allclose(weighted, (weights[:, None] * values).mean(), rtol=1e-5)
    weights = rng.uniform(size=(8, 2)).astype("float32")
    weighted = losses.SupConLoss()(LABELS, z, sample_weight=weights)
    np.testing.assert_allclose(weighted, (weights * values).mean(), rtol=1e-5)


def test_config_round_trip(rng, tmp_path):
    loss = losses.SupConLoss(0.3, 3, reduction="sum", name="supervised")
    copy = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert type(copy) is losses.SupConLoss
    assert copy.get_config() == loss.get_config()
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile(optimizer="sgd", loss=loss)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config()


def test_trains_a_plain_keras_model(rng):
    labels = np.repeat(np.arange(4), 16)
    x = (rng.normal(size=(4, 6))[labels] + 0.5 * rng.normal(size=(64, 6))).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)])
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=losses.SupConLoss(0.5))
    history = model.fit(x, labels, batch_size=32, epochs=15, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0] - 0.1
    np.testing.assert_allclose(
        model.evaluate(x, labels, batch_size=64, verbose=0),
        formulas.sup_con(labels, model.predict(x, verbose=0), 0.5).mean(),
        rtol=1e-5,
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
@chunked
def test_unknown_batch_size(rng, chunk_size):
    import tensorflow as tf

    z = embeddings(rng, (8, 2, 5))
    signature = [tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None, 2, 5))]
    traced = tf.function(losses.SupConLoss(chunk_size=chunk_size), signature)
    np.testing.assert_allclose(traced(LABELS, z), formulas.sup_con(LABELS, z).mean(), rtol=1e-5)
    np.testing.assert_allclose(traced(LABELS[:1], z[:1]), 0, atol=1e-5)
    flat = tf.function(losses.SupConLoss(), [signature[0], tf.TensorSpec((None, 5))])
    np.testing.assert_allclose(flat(LABELS[:1], z[:1, 0]), 0)


GOOD = np.ones((4, 2, 3), "float32")
FOUR = np.arange(4)


@pytest.mark.parametrize(
    ("labels", "z", "error", "message"),
    [
        (None, GOOD, ValueError, "labels=None"),
        (FOUR, None, ValueError, "embeddings=None"),
        (FOUR, GOOD[0, 0], ValueError, r"`embeddings` must have shape.*\(3,\)"),
        (FOUR, GOOD[None], ValueError, r"`embeddings` must have shape.*\(1, 4, 2, 3\)"),
        (FOUR[:3], GOOD, ValueError, r"`labels` must have shape \(batch,\).*\(3,\)"),
        (np.eye(4, dtype="int32"), GOOD, ValueError, r"`labels` must have shape.*\(4, 4\)"),
        (FOUR.astype("float32"), GOOD, TypeError, "dtype of `labels` must be integer.*float32"),
        (GOOD, FOUR, TypeError, "dtype of `labels` must be integer.*float32"),
        (FOUR, GOOD.astype("int32"), TypeError, "dtype of `embeddings` must be floating-point"),
        (FOUR[:1], GOOD[:1, 0], ValueError, r"at least 2.*\(1, 3\)"),
    ],
)
@pytest.mark.parametrize("loss", [losses.SupConLoss(), losses.sup_con], ids=["class", "function"])
def test_bad_input(loss, labels, z, error, message):
    with pytest.raises(error, match=message):
        loss(labels, z)
