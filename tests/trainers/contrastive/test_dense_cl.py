"""DenseCL: its losses, correspondence, queues, teachers, errors."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, trainers
from keras_ssl.trainers.contrastive.dense_cl import _select_most_similar
from tests.trainers.case import Case
from tests.trainers.small import encoder, images

REFERENCE = Path(__file__).parents[2] / "reference" / "local_losses.json"


def one_layer() -> layers.ProjectionHead:
    """Make a projector without biases, of which rounding decides where a norm comes after."""
    return layers.ProjectionHead((16,), last_normalization=True)


def small_dense_cl() -> trainers.DenseCL:
    network = encoder()
    return trainers.DenseCL(
        network,
        map_layer=network.layers[-2].name,
        projector=one_layer(),
        dense_projector=one_layer(),
        augment=augment.SimCLRViews(28, scale=(0.6, 1.0), strength=0.3, seed=0),
        queue=layers.FeatureQueue(64, seed=0),
        dense_queue=layers.FeatureQueue(64, seed=1),
        momentum=0.9,
    )


CASES = {
    "DenseCL": Case(
        make=small_dense_cl,
        decreasing_loss="loss",
        decrease=0.15,
        start=2,  # the initial random keys of the queues are easy negatives
        epochs=16,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        normalized=True,
    ),
}


def pairs(count=16):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def dense_cl(queue_size=32, **arguments):
    keras.utils.set_random_seed(4)
    network = encoder()
    parts = {
        "encoder": network,
        "map_layer": network.layers[-2].name,
        "projector": layers.ProjectionHead((16, 8), normalization=False),
        "dense_projector": layers.ProjectionHead((16, 4), normalization=False),
        "queue": layers.FeatureQueue(32, seed=0),
        "dense_queue": layers.FeatureQueue(queue_size, seed=1),
        **arguments,
    }
    trainer = trainers.DenseCL(**parts)
    trainer.compile(keras.optimizers.SGD(0.5))
    return trainer


def normalized(z):
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def info_nce_float64(query, key, queue, temperature=0.2):
    positive = np.exp(np.sum(query * key, axis=-1) / temperature)
    return -np.log(positive / (positive + np.exp(query @ queue.T / temperature).sum(-1))).mean()


def outputs(encoder, *heads, x):
    """Return the map, the projection of its mean and that of its positions."""
    for layer in encoder.layers[:-1]:
        x = layer(x)
    maps = np.asarray(x).reshape(len(x), -1, x.shape[-1])
    return maps, normalized(heads[0](encoder.layers[-1](x))), np.asarray(heads[1](maps))


def test_losses_match_the_paper():
    trainer = dense_cl(dense_weight=0.3)
    trainer.fit(pairs(), batch_size=16, verbose=0)  # so that students and teachers differ
    queues = [normalized(queue.features) for queue in (trainer.queue, trainer.dense_queue)]
    logs = trainer.evaluate(pairs(), batch_size=16, verbose=0, return_dict=True)
    x_q, x_k = pairs()
    heads = trainer.projector, trainer.dense_projector
    maps, query, dense_query = outputs(trainer.encoder, *heads, x=x_q)
    heads = trainer.teacher_projector, trainer.teacher_dense_projector
    maps_k, key, dense_key = outputs(trainer.teacher_encoder, *heads, x=x_k)
    assert maps.shape == (16, 49, 16)
    chosen = np.argmax(normalized(maps) @ normalized(maps_k).swapaxes(1, 2), axis=-1)
    assert len(np.unique(chosen)) > 5
    matched = normalized(np.take_along_axis(dense_key, chosen[..., None], axis=1))
    dense = info_nce_float64(normalized(dense_query), matched, queues[1])
    assert logs["dense"] == pytest.approx(0.3 * dense, rel=1e-4)
    contrastive = info_nce_float64(query, key, queues[0])
    assert logs["contrastive"] == pytest.approx(0.7 * contrastive, rel=1e-5)
    assert logs["loss"] == pytest.approx(logs["dense"] + logs["contrastive"], rel=1e-6)
    for queue, before in zip((trainer.queue, trainer.dense_queue), queues, strict=True):
        np.testing.assert_array_equal(normalized(queue.features), before)  # validation only
    # a step adds the mean of the dense keys of each example
    trainer.train_on_batch(pairs())
    added = np.asarray(trainer.dense_queue.features)[16:]  # those of `fit` are before them
    np.testing.assert_allclose(added, normalized(dense_key.mean(axis=1)), atol=1e-5)


def test_losses_and_gradients_equal_those_of_lightly():
    stored = json.loads(REFERENCE.read_text())["dense_cl"]
    names = ("features", "key_features", "dense_keys")
    dense_key = _select_most_similar(*(np.asarray(stored[name], "float32") for name in names))
    np.testing.assert_allclose(dense_key, stored["dense_key"], rtol=1e-6)

    trainer = dense_cl(dense_weight=stored["dense_weight"])
    for name in ("queue", "dense_queue"):
        queue = layers.FeatureQueue(7)
        queue.build((None, 3))
        queue.features.assign(stored[name])
        setattr(trainer, name, queue)
    query, dense_query = (tf.Variable(stored[n], dtype="float32") for n in ("query", "dense_query"))
    embeddings = {
        "query": query,
        "key": tf.constant(stored["key"], "float32"),
        "dense_query": dense_query,
        "dense_key": dense_key,
        "mean_dense_key": tf.zeros((4, 3)),
    }
    with tf.GradientTape() as tape:
        losses = trainer.losses_of(embeddings, training=False)
        total = losses["contrastive"] + losses["dense"]
    for name in ("contrastive", "dense"):
        np.testing.assert_allclose(losses[name], stored[name], rtol=1e-5)
    gradients = tape.gradient(total, [query, dense_query])
    for gradient, expected in zip(gradients, stored["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_only_students_learn_and_teachers_follow():
    trainer = dense_cl(momentum=0.75)
    trainer.evaluate(pairs(), batch_size=16, verbose=0)
    learned = {id(w) for w in trainer.trainable_weights}
    students = (trainer.encoder, trainer.projector, trainer.dense_projector)
    assert learned == {id(w) for part in students for w in part.trainable_weights}
    before = [np.asarray(w, "float64") for w in trainer.teacher_dense_projector.weights]
    trainer.train_on_batch(pairs())
    pair = (trainer.teacher_dense_projector.weights, trainer.dense_projector.weights)
    for xi, theta, old in zip(*pair, before, strict=True):
        assert np.any(np.asarray(theta) != old)
        np.testing.assert_allclose(xi, 0.75 * old + 0.25 * np.asarray(theta), atol=1e-6)


def test_defaults_are_those_of_the_paper():
    network = encoder()
    trainer = trainers.DenseCL(network, network.layers[-2].name)
    assert trainer.dense_weight == 0.5
    assert trainer.dense_projector.widths == trainer.projector.widths == (2048, 128)
    assert trainer.loss_function.temperature == 0.2
    assert trainer.dense_queue.size == trainer.queue.size == 65536
    assert trainer.dense_teacher.momentum == trainer.teacher.momentum == 0.999


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": keras.layers.Dense(4)}, TypeError, "`encoder` must be a Keras Model"),
        ({"map_layer": "maps"}, ValueError, "`encoder` must have a layer.*'maps'"),
        ({"dense_projector": "mlp"}, TypeError, "`dense_projector` must be a Keras Layer"),
        ({"dense_queue": 64}, TypeError, "`dense_queue` must be a Keras Layer"),
        ({"dense_weight": 1.5}, ValueError, "dense_weight=1.5"),
        ({"dense_weight": None}, TypeError, "dense_weight=None"),
        ({"momentum": 1.0}, ValueError, "momentum"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        dense_cl(**arguments)


def test_a_layer_without_a_map_and_a_queue_of_another_size_are_rejected():
    network = encoder()
    with pytest.raises(ValueError, match=r"returns a map of known size.*\(.*16\)"):
        pooled = network.layers[-1].name
        dense_cl(encoder=network, map_layer=pooled).fit(pairs(), batch_size=16, verbose=0)
    with pytest.raises(ValueError, match=r"multiple.*size=24 and a batch of 16"):
        dense_cl(queue_size=24).fit(pairs(), batch_size=16, verbose=0)
