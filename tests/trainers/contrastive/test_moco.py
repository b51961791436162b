"""MoCo: its loss, queue, key encoder, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, trainers
from tests.trainers.case import Case
from tests.trainers.small import batch_norm_head, encoder, images


def small_moco() -> trainers.MoCo:
    return trainers.MoCo(
        encoder(),
        projector=batch_norm_head(),
        augment=augment.SimCLRViews(28, scale=(0.6, 1.0), strength=0.3, seed=0),
        queue=layers.FeatureQueue(64, seed=0),
        momentum=0.9,
    )


CASES = {
    "MoCo": Case(
        make=small_moco,
        decreasing_loss="loss",
        decrease=0.19,
        start=2,  # the initial random keys of the queue are easy negatives
        epochs=16,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        normalized=True,
        represents="queue",
    ),
}


def pairs(count=16):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def moco(queue_size=32, **arguments):
    keras.utils.set_random_seed(4)
    head = layers.ProjectionHead((16, 8), normalization=False)
    arguments = {"queue": layers.FeatureQueue(queue_size, seed=0), **arguments}
    trainer = trainers.MoCo(encoder(), head, **arguments)
    trainer.compile(keras.optimizers.SGD(0.5))
    return trainer


def normalized(z):
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def embeddings(trainer, pair):
    query = trainer.projector(trainer.encoder(pair[0]))
    key = trainer.teacher_projector(trainer.teacher_encoder(pair[1]))
    return normalized(query), normalized(key)


def info_nce_float64(query, key, queue, temperature):
    """Return the loss of equation 1, one query at a time."""
    total = 0.0
    for q, k in zip(query, key, strict=True):
        positive = np.exp(q @ k / temperature)
        total -= np.log(positive / (positive + np.exp(queue @ q / temperature).sum()))
    return total / len(query)


def test_loss_matches_the_paper():
    trainer = moco()
    trainer.fit(pairs(), batch_size=16, verbose=0)  # so that query and key encoder differ
    queue = normalized(trainer.queue.features)
    logs = trainer.evaluate(pairs(), batch_size=16, verbose=0, return_dict=True)
    expected = info_nce_float64(*embeddings(trainer, pairs()), queue, 0.2)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(normalized(trainer.queue.features), queue)  # validation only


@pytest.mark.few(1)
@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_step_uses_the_old_queue_and_then_adds_the_keys(micro_batch_size):
    trainer = moco()
    trainer.compile(keras.optimizers.SGD(0.5), micro_batch_size=micro_batch_size)
    trainer.evaluate(pairs(), batch_size=16, verbose=0)  # builds
    before = normalized(trainer.queue.features)
    query, key = embeddings(trainer, pairs())
    logs = trainer.train_on_batch(pairs(), return_dict=True)
    assert logs["loss"] == pytest.approx(info_nce_float64(query, key, before, 0.2), rel=1e-5)
    after = np.asarray(trainer.queue.features)
    np.testing.assert_allclose(after[:16], key, atol=1e-5)
    np.testing.assert_array_equal(normalized(after[16:]), before[16:])


def test_only_the_query_encoder_is_trained_and_the_key_encoder_follows():
    trainer = moco(momentum=0.75)
    trainer.evaluate(pairs(), batch_size=16, verbose=0)
    before = [np.asarray(w, "float64") for w in trainer.teacher_encoder.weights]
    trainer.train_on_batch(pairs())
    learned = {id(w) for w in trainer.trainable_weights}
    assert learned == {
        id(w) for part in (trainer.encoder, trainer.projector) for w in part.trainable_weights
    }
    changed = 0
    for xi, theta, old in zip(
        trainer.teacher_encoder.weights, trainer.encoder.weights, before, strict=True
    ):
        theta = np.asarray(theta, "float64")
        np.testing.assert_allclose(np.asarray(xi), 0.75 * old + 0.25 * theta, atol=1e-6)
        changed += np.any(theta != old)
    assert changed == len(before)


def test_defaults_are_version_2():
    trainer = trainers.MoCo(encoder())
    assert trainer.projector.widths == (2048, 128) and trainer.projector.normalization is None
    assert trainer.loss_function.temperature == 0.2
    assert trainer.queue.size == 65536
    assert trainer.teacher.momentum == 0.999


def test_version_1_and_no_projector_train():
    for projector in (layers.ProjectionHead((8,)), keras.layers.Identity()):
        trainer = trainers.MoCo(
            encoder(),
            projector,
            loss=losses.InfoNCE(temperature=0.07),
            queue=layers.FeatureQueue(32),
        )
        trainer.compile("sgd")
        assert np.isfinite(trainer.fit(pairs(), verbose=0).history["loss"][0])


@pytest.mark.parametrize("size", [8, 24])
def test_queue_size_must_be_a_multiple_of_the_batch(size):
    trainer = moco(queue_size=size)
    with pytest.raises(ValueError, match=f"multiple.*size={size} and a batch of 16"):
        trainer.fit(pairs(), batch_size=16, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_queue_of_another_width_is_rejected():
    queue = layers.FeatureQueue(32)
    queue.build((None, 5))
    with pytest.raises(ValueError, match=r"expected shape=\(None, 5\), found shape=\(16, 8\)"):
        moco(queue=queue).fit(pairs(), batch_size=16, verbose=0)


@pytest.mark.parametrize("momentum", [1.0, -0.1, 2])
def test_momentum_out_of_range_is_rejected(momentum):
    with pytest.raises(ValueError, match="momentum"):
        moco(momentum=momentum)


@pytest.mark.parametrize("part", ["encoder", "projector", "augment", "loss", "queue"])
def test_parts_of_the_wrong_type_are_rejected(part):
    with pytest.raises(TypeError, match=part):
        trainers.MoCo(**{"encoder": encoder(), part: "info_nce"})
