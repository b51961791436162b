"""VIME: its losses in NumPy, categories, tables of every kind, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.case import Case
from tests.trainers.pretext.small_tables import BAD_TABLES, adapted
from tests.trainers.small import dense, scaled_images

CASES = {
    "VIME": Case(
        make=lambda: trainers.VIME(
            dense(32, 16, inputs=784), corruption=adapted(0.3, same_count=False)
        ),
        x=scaled_images,
        decreasing_loss="reconstruction",
        decrease=0.08,
        bad_data=BAD_TABLES,
    ),
}


@keras.saving.register_keras_serializable(package="tests")
class SwapFirst(keras.layers.Layer):
    """Puts the value of the row below into column 0, and leaves the others."""

    def call(self, x, training=False):
        return keras.ops.concatenate([keras.ops.roll(x, 1, axis=0)[:, :1], x[:, 1:]], axis=1)


def table(rng, count=20):
    x = rng.normal(size=(count, 5))
    x[:, 3] = rng.integers(0, 4, count)
    x[:, 1] = rng.integers(0, 2, count)
    x[:4, 0] = 1.0  # replaced by equal values: not changed
    return x.astype("float32")


def make(alpha=2.0, categories=None, **arguments):
    keras.utils.set_random_seed(3)
    trainer = trainers.VIME(dense(6, inputs=5, last="relu"), alpha, categories, **arguments)
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


@pytest.mark.parametrize("categories", [None, {3: 4, 1: 2}])
def test_losses_equal_formulas(rng, categories):
    x = table(rng)
    trainer = make(0.7, categories, corruption=SwapFirst())
    logs = trainer.evaluate(x, batch_size=20, verbose=0, return_dict=True)
    seen = x.astype("float64")
    seen[:, 0] = np.roll(seen[:, 0], 1)
    kernel, bias = (w.astype("float64") for w in trainer.encoder.get_weights())
    h = np.maximum(seen @ kernel + bias, 0)

    def linear(layer):
        kernel, bias = (w.astype("float64") for w in layer.get_weights())
        return h @ kernel + bias

    p, m = 1 / (1 + np.exp(-linear(trainer.to_mask))), seen != x
    assert 0 < m[:, 0].sum() < 20 and not m[:, 1:].any()
    mask = -np.mean(m * np.log(p) + (1 - m) * np.log(1 - p))
    outputs = linear(trainer.to_values)
    if categories is None:
        errors = (outputs - x) ** 2
    else:
        errors = (outputs[:, :3] - x[:, [0, 2, 4]]) ** 2
        for column, logits in ((1, outputs[:, 3:5]), (3, outputs[:, 5:9])):
            share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            chosen = share[np.arange(20), x[:, column].astype(int)]
            errors = np.concatenate([errors, -np.log(chosen)[:, None]], axis=1)
    assert outputs.shape[1] == (5 if categories is None else 9)
    reconstruction = errors.sum(axis=1).mean() / 5
    assert logs["mask"] == pytest.approx(mask, rel=1e-5)
    assert logs["reconstruction"] == pytest.approx(reconstruction, rel=1e-5)
    assert logs["loss"] == pytest.approx(mask + 0.7 * reconstruction, rel=1e-5)


def test_mask_is_estimated_where_columns_depend_on_each_other(rng):
    column = rng.normal(size=(512, 1))
    x = (column * [1, -1, 2, 1, -2] / [1, 1, 2, 1, 2]).astype("float32")
    trainer = trainers.VIME(dense(64, 64, inputs=5, last="relu"))
    trainer.compile(keras.optimizers.Adam(5e-3))
    history = trainer.fit(x, batch_size=64, epochs=30, verbose=0).history
    rate = trainer.corruption.rate
    chance = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert history["mask"][-1] < 0.75 * chance
    assert history["reconstruction"][-1] < 0.4 < 0.8 * history["reconstruction"][0]


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float16", "float64"])
def test_tables_of_any_dtype_and_one_row_are_learned_from(rng, dtype):
    x = rng.integers(0, 4, (33, 5)).astype(dtype)
    x[:, 2] = 3  # a constant column
    trainer = make(categories={0: 4})
    history = trainer.fit(x, batch_size=16, epochs=2, verbose=0).history  # last batch: one row
    assert all(np.isfinite(values).all() for values in history.values())


def test_columns_may_all_be_categories(rng):
    x = rng.integers(0, 3, (32, 5))
    trainer = make(categories=dict.fromkeys(range(5), 3))
    history = trainer.fit(x, batch_size=16, epochs=2, verbose=0).history
    assert np.isfinite(history["reconstruction"]).all()
    copy = trainers.VIME.from_config(trainer.get_config())
    assert copy.categories == trainer.categories == dict.fromkeys(range(5), 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": None}, TypeError, "`encoder`"),
        ({"alpha": -1.0}, ValueError, "`alpha`"),
        ({"corruption": 0.3}, TypeError, "`corruption`"),
        ({"categories": 3}, TypeError, "`categories` must be a dictionary"),
        ({"categories": {1: 1}}, ValueError, r"categories\[1\]"),
        ({"categories": {-1: 2}}, ValueError, "a column of `categories`"),
        ({"categories": {1: 2.5}}, TypeError, r"categories\[1\]"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.VIME(**{"encoder": dense(4, inputs=5), **arguments})


def test_bad_values_are_refused_before_the_first_step(rng):
    x = table(rng)
    for categories, message in (
        ({3: 3}, r"Column 3 of `x` must hold integer codes from 0 to 2.*to 3"),
        ({0: 3}, r"Column 0 of `x` must hold integer codes"),
        ({5: 3}, r"`categories` must name columns from 0 to 4"),
    ):
        trainer = make(categories=categories)
        with pytest.raises(ValueError, match=message):
            trainer.fit(x, verbose=0)
        assert int(trainer.optimizer.iterations) == 0
    x[2, 2] = np.inf
    with pytest.raises(ValueError, match=r"missing or infinite.*column 2"):
        make().fit(x, verbose=0)
