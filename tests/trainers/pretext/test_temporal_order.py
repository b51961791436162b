"""Temporal order: classes, places and the loss against NumPy, learning, errors."""

import itertools

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import trainers
from tests.trainers.case import Case, zeros
from tests.trainers.pretext.small_tables import series
from tests.trainers.small import dense

FRAMES = keras.layers.Flatten


def of_segments():
    return keras.Sequential(
        [keras.Input((4, 28)), FRAMES(), keras.layers.Dense(32, "relu"), keras.layers.Dense(16)]
    )


CASES = {
    "TemporalOrder": Case(
        make=lambda: trainers.TemporalOrder(of_segments(), length=4, verify=False, seed=0),
        x=series,
        decreasing_loss="loss",
        decrease=0.1,
        epochs=20,
        bad_data=(
            (zeros(64, 784), r"\(batch, time, ...\)"),
            (zeros(64, 11, 28), "at least 12 steps: 3 parts of 4 steps with 0 between"),
            (np.full((64, 28, 28), np.nan, "float32"), "missing or infinite"),
            (zeros(0, 28, 28), "no data"),
        ),
    ),
}


def make(**arguments):
    keras.utils.set_random_seed(2)
    trainer = trainers.TemporalOrder(dense(5, inputs=2), **{"seed": 0, **arguments})
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


def test_orders_of_shuffle_and_learn():
    trainer = make()
    classes = {tuple(o): int(c) for o, c in zip(trainer.orders, trainer.classes, strict=True)}
    assert classes == {
        order: int(order in ((0, 1, 2), (2, 1, 0))) for order in itertools.permutations(range(3))
    }
    assert trainer.head.units == 2


@pytest.mark.parametrize(("parts", "reversible", "classes"), [(4, True, 12), (3, False, 6)])
def test_orders_and_their_reverses_are_classes(parts, reversible, classes):
    trainer = make(parts=parts, reversible=reversible, verify=False)
    assert trainer.head.units == classes
    numbers = {tuple(o): int(c) for o, c in zip(trainer.orders, trainer.classes, strict=True)}
    assert len(numbers) == len(set(itertools.permutations(range(parts))))
    for order, number in numbers.items():
        alike = [one for one, other in numbers.items() if other == number]
        assert sorted(alike) == sorted({order, order[::-1]} if reversible else {order})


def test_places_are_uniform_and_orders_have_their_shares():
    trainer = make(parts=3, length=2, gap=1, in_order=0.4)
    starts, number = (np.asarray(one) for one in trainer.draw(zeros(6000, 10, 2)))
    order = trainer.orders[number]
    in_time = np.take_along_axis(starts, np.argsort(order, axis=1), axis=1)
    places, counts = np.unique(in_time, axis=0, return_counts=True)
    expected = [
        one
        for one in itertools.combinations(range(9), 3)
        if min(np.diff(one)) >= 3  # 2 + gap 1
    ]
    assert sorted(map(tuple, places)) == expected
    assert stats.chisquare(counts).pvalue > 1e-4
    shares = np.bincount(number, minlength=6) / 6000
    np.testing.assert_allclose(shares, np.where(trainer.classes, 0.2, 0.15), atol=0.02)


@pytest.mark.parametrize("verify", [True, False])
def test_loss_is_the_cross_entropy_of_the_order(rng, verify, monkeypatch):
    trainer = make(verify=verify)
    x = rng.normal(size=(4, 7, 2)).astype("float32")
    starts = np.array([[0, 3, 6], [5, 1, 2], [2, 0, 5], [6, 5, 0]], "int32")
    number = np.array(
        [trainer.orders.tolist().index(o) for o in np.argsort(np.argsort(starts)).tolist()]
    )
    monkeypatch.setattr(
        trainer, "draw", lambda _: tuple(map(keras.ops.convert_to_tensor, (starts, number)))
    )
    found = np.ravel(trainer.test_on_batch(x))[0]
    kernel, bias = (w.astype("float64") for w in trainer.encoder.get_weights())
    h = np.take_along_axis(x, starts[..., None], axis=1).astype("float64") @ kernel + bias
    kernel, bias = (w.astype("float64") for w in trainer.head.get_weights())
    scores = np.exp(h.reshape(4, -1) @ kernel + bias)
    chosen = (scores / scores.sum(axis=1, keepdims=True))[np.arange(4), trainer.classes[number]]
    assert found == pytest.approx(-np.log(chosen).mean(), rel=1e-5)


def test_order_of_frames_of_a_video_is_learned(rng):
    """A point moves to the right; reversed videos do not occur."""
    column = np.linspace(1, 6, 8)[None] + rng.uniform(-1, 1, (96, 1))
    x = np.exp(-((np.arange(8) - column[..., None]) ** 2))[:, :, None, :, None]
    x = np.repeat(x, 8, axis=2).astype("float32")
    encoder = keras.Sequential([FRAMES(), keras.layers.Dense(16, "relu")])
    trainer = trainers.TemporalOrder(encoder, verify=False, reversible=False, seed=0)
    trainer.compile(keras.optimizers.Adam(0.01))
    history = trainer.fit(x, batch_size=32, epochs=40, verbose=0).history["loss"]
    assert np.mean(history[-3:]) < 0.5 * np.log(6)


def test_representation_is_the_mean_over_parts_side_by_side(rng):
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential([FRAMES(), keras.layers.Dense(3)])
    trainer = trainers.TemporalOrder(encoder, length=2)
    x = rng.integers(0, 255, (2, 7, 4, 4, 1)).astype("uint8")
    parts = [np.asarray(encoder(x[:, n : n + 2].astype("float32"))) for n in (0, 2, 4)]
    np.testing.assert_allclose(trainer(x), np.mean(parts, axis=0), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["int32", "float16", "float64"])
def test_series_of_any_dtype_and_one_row_are_learned_from(rng, dtype):
    x = rng.integers(0, 5, (5, 8, 2)).astype(dtype)
    assert np.isfinite(make().fit(x, batch_size=4, epochs=2, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": None}, TypeError, "`encoder`"),
        ({"parts": 2}, ValueError, "`parts`"),
        ({"parts": 7}, ValueError, "`parts` must be at most 6"),
        ({"length": 0}, ValueError, "`length`"),
        ({"gap": -1}, ValueError, "`gap`"),
        ({"in_order": 1.0}, ValueError, "`in_order`"),
        ({"seed": 1.5}, TypeError, "`seed`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.TemporalOrder(**{"encoder": dense(4, inputs=2), **arguments})


def test_encoders_of_maps_are_named(rng):
    trainer = trainers.TemporalOrder(keras.layers.Reshape((2, 1)))
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=r"`encoder` must return features of shape"):
        trainer.fit(zeros(4, 8, 2), verbose=0)
