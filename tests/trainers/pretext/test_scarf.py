"""SCARF: its loss in NumPy, the marginals it draws from, tables of every kind, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import layers, trainers
from tests.trainers.case import Case
from tests.trainers.pretext.small_tables import BAD_TABLES, adapted
from tests.trainers.small import dense, scaled_images

CASES = {
    "SCARF": Case(
        make=lambda: trainers.SCARF(
            dense(32, 16, inputs=784),
            layers.ProjectionHead((16, 16), normalization=False),
            adapted(),
        ),
        x=scaled_images,
        decreasing_loss="loss",
        decrease=0.3,
        bad_data=BAD_TABLES,
    ),
}


def small(corruption=None, temperature=None):
    keras.utils.set_random_seed(5)
    head = layers.ProjectionHead((6, 4), normalization=False)
    trainer = trainers.SCARF(dense(8, 8, inputs=5, last="relu"), head, corruption)
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


def test_loss_is_info_nce_of_rows_and_corrupted_rows(rng):
    class Reverse(keras.layers.Layer):
        def call(self, x, training=False):
            return x[:, ::-1] if training else x

    x = rng.normal(size=(12, 5)).astype("float32")
    trainer = small(Reverse())
    loss = trainer.evaluate(x, batch_size=12, verbose=0)

    def embeddings(rows):
        h = rows.astype("float64")
        weights = [w.astype("float64") for w in trainer.encoder.get_weights()]
        for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
            h = np.maximum(h @ kernel + bias, 0)
        kernels = [w.astype("float64") for w in trainer.projector.get_weights()]
        z = np.maximum(h @ kernels[0] + kernels[1], 0) @ kernels[2] + kernels[3]
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    similarity = np.exp(embeddings(x) @ embeddings(x[:, ::-1]).T)  # of temperature 1
    expected = -np.log(np.diag(similarity) / similarity.sum(axis=1)).mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_fit_takes_marginals_from_the_whole_table_once(rng):
    x = rng.normal(size=(64, 5)).astype("float32")
    trainer = small()
    assert not trainer.corruption.is_adapted
    trainer.fit(x, batch_size=16, verbose=0)
    stored = np.array(trainer.corruption.values)
    for column, values in zip(x.T, stored.T, strict=True):
        np.testing.assert_array_equal(np.unique(values), np.sort(column))
    trainer.fit(x + 1, batch_size=16, verbose=0)
    np.testing.assert_array_equal(trainer.corruption.values, stored)


def test_data_without_a_known_table_is_refused_and_taken_after_adapt(rng):
    x = rng.normal(size=(32, 5)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(x).batch(16)
    trainer = small()
    for call in (trainer.fit, trainer.evaluate):
        with pytest.raises(ValueError, match=r"trainer\.adapt\(table\)"):
            call(data, verbose=0)
    assert int(trainer.optimizer.iterations) == 0
    trainer.adapt(x)
    assert np.isfinite(trainer.fit(data, verbose=0).history["loss"]).all()


def test_marginals_are_saved_with_the_trainer(rng, tmp_path):
    x = rng.normal(size=(32, 5)).astype("float32")
    trainer = small()
    trainer.fit(x, batch_size=16, verbose=0)
    trainer.save(tmp_path / "scarf.keras")
    loaded = keras.saving.load_model(tmp_path / "scarf.keras")
    np.testing.assert_array_equal(loaded.corruption.values, trainer.corruption.values)
    assert loaded.corruption.is_adapted


@pytest.mark.parametrize("dtype", ["int32", "int64", "float16", "float64"])
def test_tables_of_any_dtype_are_learned_from(rng, dtype):
    x = rng.integers(0, 9, (32, 5)).astype(dtype)
    x[:, 2] = 3  # a constant column
    trainer = small()
    assert np.isfinite(trainer.fit(x, batch_size=16, epochs=2, verbose=0).history["loss"]).all()
    assert set(np.unique(np.asarray(trainer.corruption.values)[:, 2])) == {3.0}


def test_codes_of_categories_stay_valid(rng):
    x = np.stack([rng.integers(0, 4, 64), rng.integers(0, 7, 64)], axis=1).astype("int32")
    inputs = keras.Input((2,), dtype="int32")
    codes = [keras.layers.Embedding(size, 4)(inputs[:, n]) for n, size in enumerate((4, 7))]
    encoder = keras.Model(inputs, keras.layers.Dense(8)(keras.layers.Concatenate()(codes)))
    trainer = trainers.SCARF(encoder)
    trainer.compile("sgd")
    assert np.isfinite(trainer.fit(x, batch_size=32, verbose=0).history["loss"][0])
    corrupted = np.asarray(trainer.corruption(x))
    assert corrupted.dtype == "int32" and np.any(corrupted != x)
    assert (corrupted >= 0).all() and (corrupted < [4, 7]).all()


def test_a_batch_of_one_row_is_refused(rng):
    x = rng.normal(size=(17, 5)).astype("float32")
    with pytest.raises(ValueError, match=r"fewer than 2 examples"):
        small().fit(x, batch_size=16, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": None}, "`encoder`"),
        ({"projector": 3}, "`projector`"),
        ({"corruption": 0.6}, "`corruption`"),
        ({"loss": "nt_xent"}, "`loss`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, message):
    with pytest.raises(TypeError, match=message):
        trainers.SCARF(**{"encoder": dense(4, inputs=5), **arguments})


def test_missing_values_and_other_shapes_are_named(rng):
    x = rng.normal(size=(32, 5)).astype("float32")
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"SimpleImputer.*1 columns, such as column 1"):
        small().fit(x, verbose=0)
    trainer = trainers.SCARF(keras.layers.Reshape((5, 1)))
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=r"`encoder` must return features of shape"):
        trainer.fit(np.ones((8, 5), "float32"), verbose=0)
