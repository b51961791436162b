"""TCL: its loss, sources that it recovers, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import evaluate, trainers
from tests.trainers.case import BAD_SINGLE_VIEW, Case
from tests.trainers.small import dense, encoder

CASES = {
    "TCL": Case(
        make=lambda: trainers.TCL(encoder(), segments=10),
        decreasing_loss="loss",
        decrease=0.42,
        epochs=20,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        bad_data=BAD_SINGLE_VIEW,
        labelled=True,
    ),
}

SEGMENTS = 6


def make(**arguments):
    keras.utils.set_random_seed(2)
    trainer = trainers.TCL(dense(8, 3, inputs=4), SEGMENTS, **arguments)
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


def points(rng, count=24):
    y = rng.integers(0, SEGMENTS, count)
    return (rng.normal(size=(count, 4)) * (1 + y[:, None])).astype("float32"), y


@pytest.mark.parametrize(("unlabelled", "column"), [(0, False), (7, True), (24, False)])
def test_loss_is_the_cross_entropy_of_the_segments(rng, unlabelled, column):
    trainer, (x, y) = make(), points(rng)
    y[:unlabelled] = -1
    logs = trainer.evaluate(
        x, y[:, None] if column else y, batch_size=24, verbose=0, return_dict=True
    )
    h = np.asarray(trainer.encoder(x), "float64")
    kernel, bias = (np.asarray(w, "float64") for w in trainer.head.weights)
    scores = np.exp(h @ kernel + bias)
    p = (scores / scores.sum(axis=1, keepdims=True))[np.arange(24), y]
    expected = -np.log(p[y != -1]).mean() if unlabelled < 24 else 0.0
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_points_without_a_segment_teach_nothing(rng):
    x, y = points(rng)
    y[16:] = -1
    one, other = make(), make()
    one.train_on_batch(x, y)
    x[16:] = rng.normal(size=(8, 4))
    other.train_on_batch(x, y)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_recovers_absolute_sources_of_a_nonlinear_mixture():
    rng = np.random.default_rng(0)
    scales = np.repeat(rng.uniform(0.05, 1.0, size=(64, 2)), 128, axis=0)
    sources = scales * rng.laplace(size=(64 * 128, 2))
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    x = sources / sources.std(axis=0) @ turn
    x = np.where(x > 0, x, 0.1 * x) @ turn
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(32, "leaky_relu")(inputs)
    last = keras.layers.Dense(2, use_bias=False)(hidden)
    trainer = trainers.TCL(keras.Model(inputs, keras.ops.absolute(last)), segments=64)
    trainer.compile(keras.optimizers.Adam(0.02))

    def found(features):
        components = evaluate.independent_components(features).transform(features)
        return [
            evaluate.mean_correlation_coefficient(np.abs(sources), one)
            for one in (components, np.abs(components))
        ]

    assert max(found(x)) < 0.88
    assert found(trainer.predict(x, batch_size=4096, verbose=0))[0] < 0.75
    trainer.fit(x, np.arange(len(x)) // 128, batch_size=256, epochs=20, verbose=0)
    assert found(trainer.predict(x, batch_size=4096, verbose=0))[0] > 0.93


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (None, ValueError, "learns from labels.*without `y`"),
        (np.zeros(24, "float32"), TypeError, "number of each point's segment.*float32"),
        (np.zeros((24, 6), "int32"), ValueError, r"number of each point's segment.*\(None, 6\)"),
        (np.full(24, SEGMENTS), ValueError, r"labels in 0\.\.5.*such as 6"),
        (np.full(24, -2), ValueError, r"labels in 0\.\.5.*such as -2"),
    ],
)
def test_bad_segments_are_rejected_before_the_first_step(rng, y, error, message):
    trainer = make()
    with pytest.raises(error, match=message):
        trainer.fit(points(rng)[0], y, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"segments": 1}, ValueError, "`segments`"),
        ({"segments": 2.0}, TypeError, "`segments`"),
        ({"encoder": None}, TypeError, "`encoder` must be a Keras Layer"),
        ({"augment": "noise"}, TypeError, "`augment`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.TCL(**{"encoder": encoder(), "segments": 4, **arguments})


def test_several_views_and_features_that_are_no_vectors_are_rejected(rng):
    x, y = points(rng)
    with pytest.raises(ValueError, match="Expected one batch of input"):
        make().fit((x, x), y, verbose=0)
    trainer = trainers.TCL(keras.layers.Reshape((2, 2)), SEGMENTS)
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=r"`encoder` must return features of shape"):
        trainer.fit(x, y, verbose=0)
