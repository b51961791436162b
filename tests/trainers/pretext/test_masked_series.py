"""Masked time series: the loss in NumPy, spans, padding, errors."""

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import trainers
from tests.trainers.case import Case, zeros
from tests.trainers.pretext.small_tables import series


def convolutions(width=16, channels=28):
    return keras.Sequential(
        [
            keras.Input((None, channels)),
            keras.layers.Conv1D(width, 5, padding="same", activation="relu"),
            keras.layers.Conv1D(width, 5, padding="same", activation="relu"),
        ]
    )


CASES = {
    "MaskedSeries": Case(
        make=lambda: trainers.MaskedSeries(convolutions(), span=3, seed=0),
        x=series,
        decreasing_loss="loss",
        decrease=0.07,
        bad_data=(
            (zeros(64, 784), r"\(batch, time, channels\)"),
            (zeros(64, 28, 10), "axis -1|28"),
            (np.full((64, 28, 28), np.nan, "float32"), "missing or infinite"),
            (zeros(0, 28, 28), "no data"),
        ),
    ),
}


def padded(rng, count=6, time=12, channels=2):
    mask = np.arange(time) < rng.integers(4, time, count)[:, None]
    x = rng.normal(size=(count, time, channels)).astype("float32")
    return {"series": x, "padding_mask": mask}


@keras.saving.register_keras_serializable(package="tests")
class OfSeries(keras.layers.Layer):
    """Features of each step by itself, of series with padding or without."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3, "tanh", bias_initializer="ones")

    def build(self, input_shape):
        pass

    def call(self, x, training=False):
        return self.dense(x["series"] if isinstance(x, dict) else x)


def make(**arguments):
    keras.utils.set_random_seed(4)
    trainer = trainers.MaskedSeries(OfSeries(), seed=1, **{"rate": 0.4, "span": 2, **arguments})
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("learned_token", [False, True])
@pytest.mark.parametrize("has_padding", [False, True])
def test_loss_is_the_error_of_hidden_values_alone(
    rng, by_channel, learned_token, has_padding, monkeypatch
):
    trainer = make(by_channel=by_channel, learned_token=learned_token)
    x = padded(rng)
    mask = x["padding_mask"] if has_padding else np.ones((6, 12), bool)
    values = x["series"]
    data = x if has_padding else values
    specs = keras.tree.map_structure(lambda one: keras.KerasTensor(one.shape, str(one.dtype)), data)
    trainer.build_step(specs, None)
    if learned_token:
        token = np.array([0.7] if by_channel else [0.7, -0.2], "float32")
        trainer.mask_token.token.assign(token)
    else:
        token = 0.0
    hidden = rng.random(values.shape) < 0.4
    hidden = (hidden if by_channel else np.repeat(hidden[..., :1], 2, axis=-1)) & mask[..., None]
    monkeypatch.setattr(trainer, "hidden_values", lambda *_: keras.ops.convert_to_tensor(hidden))
    found = trainer.test_on_batch(data)
    seen = np.where(hidden, token, values).astype("float64")
    kernel, bias = (w.astype("float64") for w in trainer.encoder.dense.get_weights())
    h = np.tanh(seen @ kernel + bias)
    kernel, bias = (w.astype("float64") for w in trainer.to_values.get_weights())
    expected = np.mean((h @ kernel + bias - values)[hidden] ** 2)
    assert np.ravel(found)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("by_channel", [False, True])
def test_spans_hide_each_step_as_often_and_never_padding(by_channel):
    trainer = make(rate=0.3, span=4, by_channel=by_channel)
    mask = np.arange(20) < np.repeat([[10], [20]], 1000, axis=0)
    x = zeros(2000, 20, 3)
    hidden = np.asarray(trainer.hidden_values(x, mask))
    assert not hidden[~mask].any()
    for step in (0, 3, 9):
        assert stats.binomtest(int(hidden[:, step, 0].sum()), 2000, 0.3).pvalue > 1e-4
    assert by_channel != np.array_equal(hidden[..., 0], hidden[..., 1])
    # a span within the series is at least 4 long
    inner = np.pad(np.asarray(trainer.hidden_values(x))[:, :, 0], ((0, 0), (1, 1)))
    starts, ends = (np.argwhere(np.diff(inner.astype(int), axis=1) == sign) for sign in (1, -1))
    lengths = (ends - starts)[:, 1]
    is_inner = (starts[:, 1] > 0) & (ends[:, 1] < 20)
    assert lengths[is_inner].min() == 4


def test_padding_changes_nothing(rng):
    x = padded(rng)
    other = {**x, "series": np.where(x["padding_mask"][..., None], x["series"], 1e6)}
    one, two = make(), make()
    first, second = (
        t.fit(d, batch_size=6, shuffle=False, verbose=0) for t, d in ((one, x), (two, other))
    )
    assert first.history == second.history
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(one(x), one(other), rtol=1e-6)
    h = np.asarray(one.encoder(x))
    expected = [row[real].mean(axis=0) for row, real in zip(h, x["padding_mask"], strict=True)]
    np.testing.assert_allclose(one(x), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "float16", "float64"])
def test_series_of_any_dtype_and_one_row_are_learned_from(rng, dtype):
    x = rng.integers(0, 5, (5, 8, 2)).astype(dtype)
    history = make().fit(x, batch_size=4, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    prediction, hidden = make().predict_hidden(x)
    assert prediction.shape == hidden.shape == (5, 8, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": None}, TypeError, "`encoder`"),
        ({"rate": 0.0}, ValueError, "`rate`"),
        ({"rate": 1.0}, ValueError, "`rate`"),
        ({"span": 0}, ValueError, "`span`"),
        ({"span": 2.5}, TypeError, "`span`"),
        ({"seed": "a"}, TypeError, "`seed`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.MaskedSeries(**{"encoder": OfSeries(), **arguments})


def test_bad_data_and_encoders_are_named(rng):
    x = padded(rng)
    with pytest.raises(ValueError, match=r"'padding_mask' of shape \(batch, time\)"):
        make().fit({**x, "padding_mask": x["padding_mask"][:, :5]}, verbose=0)
    x["series"][0, 0, 1] = np.nan
    with pytest.raises(ValueError, match=r"mark steps without values as padding.*column 1"):
        make().fit(x, verbose=0)
    for encoder in (keras.layers.GlobalAveragePooling1D(), keras.layers.MaxPooling1D(2)):
        trainer = trainers.MaskedSeries(encoder)
        trainer.compile("sgd")
        with pytest.raises(ValueError, match=r"`encoder` must return features of every step"):
            trainer.fit(zeros(4, 8, 2), verbose=0)
