"""SimCLR: its loss, data with and without labels, errors."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, losses, trainers
from tests.trainers.case import Case
from tests.trainers.small import encoder, images


def small_simclr(
    normalize: bool = False, loss: keras.losses.Loss | None = None, **views: Any
) -> trainers.SimCLR:
    return trainers.SimCLR(
        encoder(normalize),
        projector=layers.ProjectionHead((32, 16), normalization=normalize),
        augment=augment.SimCLRViews(
            28, seed=0, **(views or {"scale": (0.6, 1.0), "strength": 0.3})
        ),
        loss=loss or losses.NTXent(temperature=0.2),
    )


CASES = {
    "SimCLR": Case(
        make=small_simclr,
        decreasing_loss="loss",
        decrease=0.65,
        epochs=20,
        represents="plain",
    ),
    "SimCLR with batch norm": Case(
        make=lambda: small_simclr(normalize=True, scale=(0.3, 1.0)),
        decreasing_loss="loss",
        decrease=0.4,
        normalized=True,
        represents="batch normalization",
    ),
    "SimCLR with DCL": Case(
        make=lambda: small_simclr(loss=losses.DCL(temperature=0.2)),
        decreasing_loss="loss",
        decrease=0.7,
        epochs=20,
    ),
    "SimCLR with DCLW": Case(
        make=lambda: small_simclr(loss=losses.DCLW(temperature=0.2)),
        decreasing_loss="loss",
        decrease=0.65,
        epochs=20,
    ),
}


def projector():
    return layers.ProjectionHead((16, 8), normalization=False)


def pairs(count=32):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def nt_xent_float64(z1, z2, temperature):
    """Return the loss of equation 1, one anchor at a time."""
    z = np.concatenate([z1, z2]).astype("float64")
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, total = len(z1), 0.0
    for i in range(2 * n):
        similarity = np.exp(z @ z[i] / temperature)
        total -= np.log(similarity[(i + n) % (2 * n)] / (similarity.sum() - similarity[i]))
    return total / (2 * n)


def test_loss_matches_the_paper():
    trainer = trainers.SimCLR(encoder(), projector())
    trainer.compile("sgd")
    x1, x2 = pairs()
    logs = trainer.evaluate((x1, x2), batch_size=32, verbose=0, return_dict=True)
    z1, z2 = (np.asarray(trainer.projector(trainer.encoder(x))) for x in (x1, x2))
    assert logs["loss"] == pytest.approx(nt_xent_float64(z1, z2, 0.1), rel=1e-5)


def test_data_may_hold_views_with_and_without_labels():
    x1, x2 = pairs()
    y = images()[1][:32]
    for data in (((x1, x2), y), ((x1, x2),)):
        trainer = trainers.SimCLR(encoder(), projector())
        trainer.compile("sgd")
        dataset = tf.data.Dataset.from_tensor_slices(data).batch(16, drop_remainder=True)
        assert np.isfinite(trainer.fit(dataset, verbose=0).history["loss"][0])


def test_labels_do_not_affect_training():
    weights = []
    for y in (np.zeros(32, "int64"), images()[1][:32]):
        keras.utils.set_random_seed(3)
        trainer = trainers.SimCLR(encoder(), projector())
        trainer.compile("sgd")
        trainer.fit(pairs(), y, batch_size=16, shuffle=False, verbose=0)
        weights.append(trainer.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 28, 28, 1), "float32"), "tuple of 2 views"),
        ((np.zeros((4, 28, 28, 1), "float32"),), "2 views"),
        ((np.zeros((4, 28, 28, 1)), np.zeros((4, 20, 20, 1))), "one shape"),
        ((np.zeros((4, 28), "float32"),) * 2, "shape"),  # the encoder takes images
        ((np.zeros((4, 28, 28, 3), "float32"),) * 2, "shape"),
    ],
)
def test_invalid_views_are_rejected(x, message):
    trainer = trainers.SimCLR(encoder(), projector())
    trainer.compile("sgd")
    with pytest.raises((ValueError, TypeError), match=message):
        trainer.fit(x, verbose=0)


@pytest.mark.parametrize("part", ["encoder", "projector", "augment", "loss"])
def test_parts_of_the_wrong_type_are_rejected(part):
    parts = {"encoder": encoder(), part: "nt_xent"}
    with pytest.raises(TypeError, match=part):
        trainers.SimCLR(**parts)


def test_encoder_without_pooling_is_rejected():
    trainer = trainers.SimCLR(keras.layers.Conv2D(4, 3), projector())
    trainer.compile("sgd")
    with pytest.raises(ValueError, match="`encoder` must return features"):
        trainer.fit(pairs(), verbose=0)


def test_last_batch_of_one_is_rejected_before_the_first_step():
    trainer = trainers.SimCLR(encoder(), projector())
    trainer.compile("sgd")
    with pytest.raises(ValueError, match="33 examples and batch_size=32"):
        trainer.fit(pairs(33), batch_size=32, verbose=0)


def test_uint8_images_are_cast_for_the_encoder():
    class Encoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, x):
            return self.dense(keras.ops.mean(x, axis=(1, 2)))

    x, y = images()[0][:32], images()[1][:32]
    trainer = trainers.SimCLR(Encoder(), projector())
    trainer.compile("sgd", probe=trainers.OnlineProbe(10))
    trainer.fit((x, x[:, :, ::-1]), y, verbose=0)
    assert trainer.predict(x, verbose=0).shape == (32, 4)


def test_images_in_the_unit_range_cause_a_warning():
    trainer = trainers.SimCLR(encoder(), projector(), augment.SimCLRViews(28))
    trainer.compile("sgd")
    with pytest.warns(UserWarning, match="value_range"):
        trainer.fit(pairs()[0] / 255, verbose=0)


@pytest.mark.parametrize("static", [True, False])
def test_batch_of_one_is_rejected(static):
    trainer = trainers.SimCLR(encoder(), projector())
    trainer.compile("sgd")
    dataset = tf.data.Dataset.from_tensor_slices((pairs(4),)).batch(1, drop_remainder=static)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="at least 2 examples"):
        trainer.fit(dataset, verbose=0)


def test_encoder_can_be_saved_alone(tmp_path):
    trainer = trainers.SimCLR(encoder(normalize=True), projector())
    trainer.compile("sgd")
    trainer.fit(pairs(), verbose=0)
    trainer.encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    x = pairs()[0]
    np.testing.assert_allclose(loaded.predict(x, verbose=0), trainer.predict(x, verbose=0))


@pytest.mark.full
def test_one_example_per_replica_has_negatives_from_other_replicas(two_replicas, tmp_path):
    def trained():
        keras.utils.set_random_seed(3)
        head = layers.ProjectionHead((16, 8))
        trainer = trainers.SimCLR(encoder(normalize=True), head, augment.SimCLRViews(28, seed=0))
        trainer.compile(keras.optimizers.SGD(0.05))
        dataset = tf.data.Dataset.from_tensor_slices(images()[0][:6])
        trainer.fit(dataset.batch(2, drop_remainder=True), verbose=0)
        return trainer

    one = trained()
    with two_replicas.scope():
        two = trained()
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=1e-4, atol=1e-4)

    # such a trainer can be loaded where there is only one replica
    two.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    np.testing.assert_allclose(loaded(images()[0][:4]), two(images()[0][:4]), rtol=1e-5)
