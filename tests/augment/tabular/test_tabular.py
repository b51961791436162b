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


def adapted(table, *arguments, **options):
    layer = tabular.RandomMarginalCorruption(*arguments, seed=0, **options)
    layer.adapt(table)
    return layer


def test_marginals_are_quantiles_of_the_table(table):
    stored = to_numpy(adapted(table, quantiles=48).values)
    np.testing.assert_array_equal(stored, np.repeat(np.sort(table, axis=0), 3, 0).astype("float32"))
    halves = np.sort(table, axis=0)[[4, 12]].astype("float32")
    np.testing.assert_array_equal(to_numpy(adapted(table, quantiles=2).values), halves)


def test_marginals_of_categories_keep_their_frequencies(rng):
    table = rng.choice(3, size=(500, 1), p=[0.7, 0.2, 0.1])
    layer = adapted(table, 1.0)
    taken = to_numpy(layer(np.full((4000, 1), 9, "int32")))[:, 0]
    share = np.bincount(table[:, 0]) / 500
    assert stats.chisquare(np.bincount(taken), 4000 * share).pvalue > 1e-4


def test_marginal_corruption_takes_drawn_values(table, rng):
    layer = adapted(table, 0.5, quantiles=7)
    x = rng.normal(size=(9, 5)).astype("float32")
    p = drawn(layer, x.shape)
    taken = np.take_along_axis(to_numpy(layer.values), p["source"], axis=0)
    np.testing.assert_array_equal(layer.apply(x, p), np.where(p["corrupted"], taken, x))
    assert p["source"].min() == 0 and p["source"].max() == 6


@pytest.mark.parametrize(("rate", "features", "count"), [(0.6, 5, 3), (0.29, 100, 29), (1.0, 4, 4)])
def test_every_row_has_as_many_features_replaced(rate, features, count):
    corrupted = drawn(tabular.RandomMarginalCorruption(rate, seed=0), (2000, features))["corrupted"]
    assert (corrupted.sum(axis=1) == count).all()
    if count < features:  # each feature as often as any other
        assert stats.chisquare(corrupted.sum(axis=0)).pvalue > 1e-4


def test_features_are_replaced_independently_if_asked_for():
    layer = tabular.RandomMarginalCorruption(0.3, same_count=False, seed=0)
    corrupted = drawn(layer, (400, 10))["corrupted"]
    assert stats.binomtest(int(corrupted.sum()), 4000, 0.3).pvalue > 1e-4
    assert np.ptp(corrupted.sum(axis=1)) > 3


def test_one_row_is_corrupted_by_the_table(table):
    row = np.full((1, 5), 7.0, "float32")
    assert np.all(to_numpy(adapted(table, 1.0)(row)) != row)


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (np.zeros((0, 5)), ValueError, r"must have rows.*\(0, 5\)"),
        (np.full((3, 5), np.nan), ValueError, "15 values that are not finite"),
        (np.zeros((3, 4)), ValueError, r"must have 5 features.*\(3, 4\)"),
        (np.zeros(3), ValueError, r"\(batch, features\)"),
        (np.array([["a"]]), TypeError, "integer or floating-point"),
    ],
)
def test_bad_tables_are_refused(table, rows, error, message):
    layer = adapted(table)
    with pytest.raises(error, match=message):
        layer.adapt(rows)
    assert layer.is_adapted


def test_a_rate_that_replaces_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"`rate` times.*rate=0.3 for 3 features"):
        tabular.RandomMarginalCorruption(0.3)(np.zeros((2, 3), "float32"))


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
    "marginals": tabular.RandomMarginalCorruption,
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
    kept = name in ("corruption", "marginals", "mask")
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
        (lambda: tabular.RandomMarginalCorruption(-0.1), ValueError, "`rate`.*Received"),
        (lambda: tabular.RandomMarginalCorruption(quantiles=0), ValueError, "`quantiles`"),
        (lambda: tabular.RandomMask("half"), TypeError, "`rate`.*Received"),
        (lambda: tabular.RandomMask(0.5, "median"), ValueError, "`fill`.*'mean'.*Received"),
        (lambda: tabular.RandomMask(0.5, None), TypeError, "`fill`.*Received"),
        (lambda: tabular.RandomFeatureNoise(-1), ValueError, "`stddev`.*Received"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
