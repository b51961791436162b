"""Layers on tables: numbers against NumPy, statistics of the draws, dtypes."""

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import augment

tabular = augment.tabular
to_numpy = keras.ops.convert_to_numpy


@pytest.fixture
def table(rng):
    return rng.normal(size=(16, 5)) * [0.1, 1, 10, 100, 1000] + [0, 1, -5, 50, 3]


def drawn(layer, shape):
    return {name: to_numpy(x) for name, x in layer.draw(np.zeros(shape, "float32")).items()}


def test_corruption_takes_values_of_drawn_rows(table):
    layer = tabular.RandomFeatureCorruption(0.5, seed=0)
    p = drawn(layer, table.shape)
    corrupted = to_numpy(layer.apply(table.astype("float32"), p))
    taken = np.take_along_axis(table, p["source"], axis=0)
    expected = np.where(p["corrupted"], taken, table)
    np.testing.assert_array_equal(corrupted, expected.astype("float32"))


def test_corruption_draws_other_rows_uniformly():
    p = drawn(tabular.RandomFeatureCorruption(0.3, seed=0), (8, 2000))
    assert stats.binomtest(int(p["corrupted"].sum()), 16000, 0.3).pvalue > 1e-4
    for row, sources in enumerate(p["source"]):
        counts = np.bincount(sources, minlength=8)
        assert counts[row] == 0
        assert stats.chisquare(np.delete(counts, row)).pvalue > 1e-4
    # features of a row draw independently of one another
    assert abs(np.corrcoef(p["source"][:, ::2].ravel(), p["source"][:, 1::2].ravel())[0, 1]) < 0.05


def test_corruption_keeps_each_features_values(rng):
    table = rng.integers(0, 5, (32, 3)) + np.array([0, 10, 20])
    corrupted = to_numpy(tabular.RandomFeatureCorruption(1.0)(table.astype("int32")))
    assert corrupted.dtype == "int32"
    for before, after in zip(table.T, corrupted.T, strict=True):
        assert set(after) <= set(before)


def test_one_row_is_not_corrupted():
    row = np.arange(4.0, dtype="float32")[None]
    np.testing.assert_array_equal(tabular.RandomFeatureCorruption(1.0)(row), row)


@pytest.mark.parametrize("fill", [-7.0, "mean"])
def test_mask_against_numpy(table, fill):
    layer = tabular.RandomMask(0.4, fill, seed=0)
    p = drawn(layer, table.shape)
    expected = np.where(p["masked"], table.mean(axis=0) if fill == "mean" else fill, table)
    masked = to_numpy(layer.apply(table.astype("float32"), p))
    np.testing.assert_allclose(masked, expected, rtol=1e-5)


def test_mask_rate():
    masked = drawn(tabular.RandomMask(0.3, seed=0), (400, 10))["masked"]
    assert stats.binomtest(int(masked.sum()), 4000, 0.3).pvalue > 1e-4


def test_noise_against_numpy(table):
    layer = tabular.RandomFeatureNoise(0.2, seed=0)
    p = drawn(layer, table.shape)
    expected = table + 0.2 * table.std(axis=0) * p["noise"]
    noisy = to_numpy(layer.apply(table.astype("float32"), p))
    np.testing.assert_allclose(noisy, expected, rtol=1e-4, atol=1e-5)


def test_noise_is_standard_normal():
    noise = drawn(tabular.RandomFeatureNoise(seed=0), (400, 10))["noise"]
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-4


LAYERS = {
    "corruption": tabular.RandomFeatureCorruption,
    "mask": tabular.RandomMask,
    "mean": lambda **k: tabular.RandomMask(fill="mean", **k),
    "noise": tabular.RandomFeatureNoise,
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floating_dtypes_are_kept(table, name, dtype):
    layer = LAYERS[name](seed=0)
    x = keras.ops.cast(table, dtype)
    # JAX makes float32 of float64
    kept = keras.backend.standardize_dtype(x.dtype)
    assert keras.backend.standardize_dtype(layer(x).dtype) == kept
    spec = layer.compute_output_spec(keras.KerasTensor(x.shape, dtype))
    assert (spec.shape, spec.dtype) == (x.shape, kept)


@pytest.mark.parametrize("name", LAYERS)
def test_integers(name, rng):
    output = LAYERS[name](seed=0)(rng.integers(0, 9, (8, 3)).astype("int32"))
    kept = name in ("corruption", "mask")
    assert keras.backend.standardize_dtype(output.dtype) == ("int32" if kept else "float32")


@pytest.mark.parametrize("fill", [0.5, -1.0, 300.0])
def test_a_fill_that_integers_cannot_hold_is_an_error(fill):
    with pytest.raises(ValueError, match=r"`fill`.*uint8.*Received: fill="):
        tabular.RandomMask(0.5, fill)(np.zeros((4, 2), "uint8"))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(4,), (4, 3, 2)])
def test_wrong_rank_is_an_error(name, shape):
    with pytest.raises(ValueError, match=r"\(batch, features\).*Received: shape"):
        LAYERS[name]()(np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tabular.RandomFeatureCorruption(1.1), ValueError, "`rate`.*Received"),
        (lambda: tabular.RandomMask("half"), TypeError, "`rate`.*Received"),
        (lambda: tabular.RandomMask(0.5, "median"), ValueError, "`fill`.*'mean'.*Received"),
        (lambda: tabular.RandomMask(0.5, None), TypeError, "`fill`.*Received"),
        (lambda: tabular.RandomFeatureNoise(-1), ValueError, "`stddev`.*Received"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
