"""Layers on sequences: numbers against NumPy, statistics of the draws, dtypes."""

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import augment

sequence = augment.sequence
to_numpy = keras.ops.convert_to_numpy


@pytest.fixture(params=[(6, 20), (6, 20, 3)], ids=["univariate", "multivariate"])
def series(request, rng):
    return rng.normal(size=request.param)


def drawn(layer, shape):
    return {name: to_numpy(x) for name, x in layer.draw(np.zeros(shape, "float32")).items()}


def applied(layer, x, p):
    return to_numpy(layer.apply(x.astype("float32"), p))


def assert_uniform_integers(values, low, high):
    counts = np.bincount(np.ravel(values) - low, minlength=high - low + 1)
    assert len(counts) == high - low + 1
    assert len(counts) == 1 or stats.chisquare(counts).pvalue > 1e-4


def test_jitter_against_numpy(series):
    layer = sequence.RandomJitter(0.3, seed=0)
    p = drawn(layer, series.shape)
    assert stats.kstest(p["noise"].ravel(), "norm").pvalue > 1e-4
    np.testing.assert_allclose(applied(layer, series, p), series + 0.3 * p["noise"], atol=1e-6)


@pytest.mark.parametrize("per_feature", [True, False])
def test_scale_against_numpy(series, per_feature):
    layer = sequence.RandomScale(0.3, per_feature, seed=0)
    p = drawn(layer, series.shape)
    features = series.shape[2:] if per_feature else (1,) * (series.ndim - 2)
    assert p["factor"].shape == (6, 1, *features)
    np.testing.assert_allclose(applied(layer, series, p), series * p["factor"], rtol=1e-5)


def test_factors_are_normal_around_1():
    factors = drawn(sequence.RandomScale(0.3, seed=0), (500, 2, 8))["factor"]
    assert stats.kstest(factors.ravel(), stats.norm(1, 0.3).cdf).pvalue > 1e-4


def test_crop_against_numpy(series):
    layer = sequence.RandomTimeCrop(8, seed=0)
    p = drawn(layer, series.shape)
    expected = [x[start : start + 8] for x, start in zip(series, p["start"], strict=True)]
    np.testing.assert_array_equal(applied(layer, series, p), np.float32(expected))
    at_rest = to_numpy(layer(series.astype("float32"), training=False))
    np.testing.assert_array_equal(at_rest, np.float32(series[:, 6:14]))


def test_crops_begin_anywhere():
    starts = drawn(sequence.RandomTimeCrop(8, seed=0), (4000, 20))["start"]
    assert_uniform_integers(starts, 0, 12)


@pytest.mark.parametrize("training", [True, False])
def test_a_crop_longer_than_the_sequences_is_an_error(training):
    with pytest.raises(ValueError, match=r"windows of 9 steps.*Received: shape \(2, 8\)"):
        sequence.RandomTimeCrop(9)(np.zeros((2, 8), "float32"), training=training)


def test_permutation_against_numpy(series):
    layer = sequence.RandomSegmentPermutation(4, seed=0)
    p = drawn(layer, series.shape)
    for x, permuted, cuts, place in zip(
        series, applied(layer, series, p), p["cuts"], p["place"], strict=True
    ):
        segments = np.split(x, np.sort(cuts))
        expected = np.concatenate([segments[index] for index in np.argsort(place)])
        np.testing.assert_array_equal(permuted, np.float32(expected))


def test_cuts_and_orders_are_uniform():
    p = drawn(sequence.RandomSegmentPermutation(3, seed=0), (3000, 10))
    assert_uniform_integers(p["cuts"], 0, 9)
    orders, counts = np.unique(p["place"], axis=0, return_counts=True)
    assert len(orders) == 6 and stats.chisquare(counts).pvalue > 1e-4


def test_warp_against_numpy(series):
    layer = sequence.RandomTimeWarp(4, seed=0)
    p = drawn(layer, series.shape)
    steps = np.arange(20.0)
    for x, warped, point, target in zip(
        series, applied(layer, series, p), p["point"], p["target"], strict=True
    ):
        source = np.interp(steps, [0, target, 19], [0, point, 19])
        columns = x.reshape(20, -1).T
        expected = np.stack([np.interp(source, steps, column) for column in columns], axis=-1)
        np.testing.assert_allclose(warped, expected.reshape(x.shape), atol=1e-5)


@pytest.mark.parametrize(("max_shift", "shift"), [(4, 4), (0.2, 4), (100, 9.5), (1.0, 9.5), (0, 0)])
def test_warped_points_and_shifts_are_uniform(max_shift, shift):
    p = drawn(sequence.RandomTimeWarp(max_shift, seed=0), (2000, 20))
    moved = p["target"] - p["point"]
    if shift == 0:
        assert not moved.any()
    else:
        assert stats.kstest(moved, stats.uniform(-shift, 2 * shift).cdf).pvalue > 1e-4
    if shift < 9.5:
        assert stats.kstest(p["point"], stats.uniform(shift, 19 - 2 * shift).cdf).pvalue > 1e-4
    assert p["target"].min() >= 0 and p["target"].max() <= 19


def test_extreme_warps_are_finite(series):
    layer = sequence.RandomTimeWarp(100)
    for point, target in ((0, 0), (0, 19), (19, 19), (9.5, 0), (9.5, 19)):
        p = {"point": np.full(6, point, "float32"), "target": np.full(6, target, "float32")}
        assert np.isfinite(applied(layer, series, p)).all()
    assert to_numpy(layer(np.ones((2, 1), "float32"))).tolist() == [[1], [1]]


def masked_by_hand(x, p, axis, fill):
    x = x.copy()
    for example, starts, lengths in zip(x, p["start"], p["length"], strict=True):
        along = np.moveaxis(example, axis - 1, 0)
        for start, length in zip(starts, lengths, strict=True):
            along[start : start + length] = fill
    return x


def test_time_masks_against_numpy(series):
    layer = sequence.RandomTimeMask(6, count=2, fill=-3, seed=0)
    p = drawn(layer, series.shape)
    expected = np.float32(masked_by_hand(series, p, 1, -3))
    np.testing.assert_array_equal(applied(layer, series, p), expected)


def test_frequency_masks_against_numpy(rng):
    spectrograms = rng.normal(size=(6, 4, 20))
    layer = sequence.RandomFrequencyMask(6, count=2, fill=-3, seed=0)
    p = drawn(layer, spectrograms.shape)
    expected = np.float32(masked_by_hand(spectrograms, p, 2, -3))
    np.testing.assert_array_equal(applied(layer, spectrograms, p), expected)


@pytest.mark.parametrize(
    ("max_length", "longest"), [(4, 4), (0.5, 5), (100, 10), (0, 0), (1.0, 10)]
)
def test_lengths_and_places_of_masks_are_uniform(max_length, longest):
    p = drawn(sequence.RandomTimeMask(max_length, count=3, seed=0), (2000, 10))
    assert_uniform_integers(p["length"], 0, longest)
    for length in range(longest + 1):
        assert_uniform_integers(p["start"][p["length"] == length], 0, 10 - length)


def test_channel_masks_against_numpy(rng):
    series = rng.normal(size=(200, 4, 5))
    layer = sequence.RandomChannelMask(0.3, fill=9, seed=0)
    p = drawn(layer, series.shape)
    expected = np.float32(np.where(p["masked"][:, None], 9, series))
    np.testing.assert_array_equal(applied(layer, series, p), expected)
    assert stats.binomtest(int(p["masked"].sum()), 1000, 0.3).pvalue > 1e-4


def test_spec_augment_is_its_three_parts(rng):
    spectrograms = rng.normal(size=(4, 20, 10)).astype("float32")
    layer = sequence.SpecAugment(3, 4, 1, 5, 2, fill=-1, seed=0)
    warp, frequencies, times = layer.draw(spectrograms)
    expected = sequence.RandomTimeWarp(3).apply(spectrograms, warp)
    expected = sequence.RandomFrequencyMask(4, 1, -1).apply(expected, frequencies)
    expected = sequence.RandomTimeMask(5, 2, -1).apply(expected, times)
    result = layer.apply(spectrograms, [warp, frequencies, times])
    np.testing.assert_array_equal(to_numpy(result), to_numpy(expected))
    assert frequencies["start"].shape == (4, 1) and times["start"].shape == (4, 2)


def test_spec_augment_without_warping_keeps_integers(rng):
    spectrograms = rng.integers(0, 9, (4, 20, 10)).astype("int32")
    augmented = sequence.SpecAugment(time_warp=0)(spectrograms)
    assert keras.backend.standardize_dtype(augmented.dtype) == "int32"


LAYERS = {
    "jitter": sequence.RandomJitter,
    "scale": sequence.RandomScale,
    "crop": lambda **k: sequence.RandomTimeCrop(5, **k),
    "permutation": sequence.RandomSegmentPermutation,
    "warp": sequence.RandomTimeWarp,
    "time mask": sequence.RandomTimeMask,
    "frequency mask": sequence.RandomFrequencyMask,
    "channel mask": sequence.RandomChannelMask,
    "spec augment": sequence.SpecAugment,
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floating_dtypes_are_kept(rng, name, dtype):
    layer = LAYERS[name](seed=0)
    x = keras.ops.cast(rng.normal(size=(2, 8, 3)), dtype)
    # JAX makes float32 of float64
    kept = keras.backend.standardize_dtype(x.dtype)
    assert keras.backend.standardize_dtype(layer(x).dtype) == kept


@pytest.mark.parametrize("name", LAYERS)
def test_integers(name, rng):
    output = LAYERS[name](seed=0)(rng.integers(0, 9, (2, 8, 3)).astype("int32"))
    computes = name in ("jitter", "scale", "warp", "spec augment")
    assert keras.backend.standardize_dtype(output.dtype) == ("float32" if computes else "int32")


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(4,), (4, 3, 2, 2)])
def test_wrong_rank_is_an_error(name, shape):
    with pytest.raises(ValueError, match=r"\(batch, time, features\).*Received: shape"):
        LAYERS[name]()(np.zeros(shape, "float32"))


@pytest.mark.parametrize("name", ["frequency mask", "channel mask", "spec augment"])
def test_layers_on_features_refuse_sequences_without(name):
    with pytest.raises(ValueError, match=r"\(batch, time, features\).*Received: shape"):
        LAYERS[name]()(np.zeros((4, 8), "float32"))


@pytest.mark.parametrize("name", LAYERS)
def test_keras_masks_follow_where_steps_stay(name):
    stays = name in ("jitter", "scale", "time mask", "frequency mask", "channel mask")
    mask = object()
    layer = LAYERS[name]()
    assert (layer.compute_mask(np.zeros((1, 8, 3)), mask) is mask) == stays


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sequence.RandomJitter(-1), ValueError, "`stddev`.*Received"),
        (lambda: sequence.RandomScale("much"), TypeError, "`stddev`.*Received"),
        (lambda: sequence.RandomTimeCrop(0), ValueError, "`length`.*Received"),
        (lambda: sequence.RandomSegmentPermutation(2.5), TypeError, "`segments`.*Received"),
        (lambda: sequence.RandomTimeWarp(1.5), ValueError, "`max_shift`.*Received"),
        (lambda: sequence.RandomTimeMask(-1), ValueError, "`max_length`.*Received"),
        (lambda: sequence.RandomTimeMask(5, count=0), ValueError, "`count`.*Received"),
        (lambda: sequence.RandomChannelMask(2), ValueError, "`rate`.*Received"),
        (lambda: sequence.SpecAugment(time_length=2.0), ValueError, "`time_length`.*Received"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
