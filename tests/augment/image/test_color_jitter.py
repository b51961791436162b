import itertools
import math

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import augment
from keras_ssl.augment.image.color import LUMA

to_numpy = keras.ops.convert_to_numpy
only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="compares with tf.image"
)


def brightness(x, b):
    return b * x


def contrast(x, c):
    return c * x + (1 - c) * (x @ LUMA).mean()


def saturation(x, s):
    return s * x + (1 - s) * (x @ LUMA)[..., None]


def hue(x, turns):
    """Turn the chroma in the coordinates of the NTSC colour space."""
    yiq = np.array(
        [LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]], "float64"
    )
    y, i, q = np.moveaxis(x @ yiq.T, -1, 0)
    angle = math.atan2(1, 0) * 4 * turns
    turned = np.stack(
        [
            y,
            i * math.cos(angle) + q * math.sin(angle),
            q * math.cos(angle) - i * math.sin(angle),
        ],
        axis=-1,
    )
    return turned @ np.linalg.inv(yiq).T


STEPS = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
FACTORS = {"brightness": 1.3, "contrast": 0.6, "saturation": 1.5, "hue": 0.13}


def as_parameters(**factors):
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    return {name: np.float32([value]) for name, value in {**neutral, **factors}.items()}


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)))
def test_every_order_of_the_four_steps_gives_the_same_map(rng, order):
    image = rng.uniform(0, 255, (1, 7, 9, 3))
    expected = image[0]
    for name in order:
        expected = STEPS[name](expected, FACTORS[name])
    jitter = augment.ColorJitter(0.5, 0.5, 0.5, 0.2)
    result = to_numpy(jitter.apply(image, as_parameters(**FACTORS)))
    np.testing.assert_allclose(result[0], expected, atol=255 * 1e-5)


@only_tensorflow
def test_brightness_and_contrast_and_saturation_against_tensorflow(rng):
    import tensorflow as tf

    jitter = augment.ColorJitter(value_range=(0, 1))
    # colours of one luma everywhere would hide the mean; gray images make tf's contrast, which
    # has a mean for each channel, the same as ours
    gray = np.repeat(rng.uniform(0.2, 0.8, (1, 8, 8, 1)), 3, axis=-1).astype("float32")
    result = to_numpy(jitter.apply(gray, as_parameters(contrast=0.4)))
    np.testing.assert_allclose(result, tf.image.adjust_contrast(gray, 0.4), atol=1e-5)

    # tf's saturation is that of HSV, which agrees where all colour goes out of a gray image
    result = to_numpy(jitter.apply(gray, as_parameters(saturation=0.0)))
    np.testing.assert_allclose(result, tf.image.adjust_saturation(gray, 0.0), atol=1e-5)

    # tf adds where torchvision multiplies: on a constant image the two can be made equal
    flat = np.full((1, 4, 4, 3), 0.5, "float32")
    result = to_numpy(jitter.apply(flat, as_parameters(brightness=1.4)))
    np.testing.assert_allclose(result, tf.image.adjust_brightness(flat, 0.2), atol=1e-5)


@only_tensorflow
@pytest.mark.parametrize("turns", [-0.1, -0.05, 0.05, 0.1])
def test_hue_turns_in_the_direction_of_tensorflow(rng, turns):
    import tensorflow as tf

    # HSV keeps the largest channel where we keep the luma: the two agree in the chroma, about
    base = rng.uniform(0.3, 0.7, (500, 1, 1, 3)).astype("float32")
    jitter = augment.ColorJitter(value_range=(0, 1))
    moved = to_numpy(jitter.apply(base, as_parameters(hue=turns))) - base
    theirs = tf.image.adjust_hue(base, turns).numpy() - base
    moved, theirs = (x - x.mean(-1, keepdims=True) for x in (moved, theirs))
    cosines = (moved * theirs).sum(-1) / (
        np.linalg.norm(moved, axis=-1) * np.linalg.norm(theirs, axis=-1)
    )
    assert np.median(cosines) > 0.8


def test_hue_keeps_luma_and_gray(rng):
    jitter = augment.ColorJitter()
    image = rng.uniform(0, 255, (1, 6, 6, 3))
    turned = to_numpy(jitter.apply(image, as_parameters(hue=0.3)))
    np.testing.assert_allclose(turned @ LUMA, image @ LUMA, atol=1e-2)
    gray = np.repeat(image[..., :1], 3, axis=-1)
    np.testing.assert_allclose(
        to_numpy(jitter.apply(gray, as_parameters(hue=0.3))), gray, atol=1e-2
    )


def test_a_full_turn_of_hue_changes_nothing(rng):
    image = rng.uniform(0, 255, (1, 6, 6, 3))
    turned = augment.ColorJitter().apply(image, as_parameters(hue=1.0))
    np.testing.assert_allclose(to_numpy(turned), image, atol=1e-2)


def test_brightness_is_measured_from_the_low_end_of_the_range(rng):
    image = rng.uniform(-1, 1, (1, 5, 5, 3))
    jitter = augment.ColorJitter(value_range=(-1, 1))
    result = to_numpy(jitter.apply(image, as_parameters(**FACTORS)))
    on_255 = augment.ColorJitter().apply((image + 1) * 127.5, as_parameters(**FACTORS))
    np.testing.assert_allclose(result, to_numpy(on_255) / 127.5 - 1, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channel_counts_get_brightness_and_contrast(rng, channels):
    image = rng.uniform(0, 255, (1, 6, 7, channels))
    result = augment.ColorJitter().apply(image, as_parameters(**FACTORS))
    mean = image.mean(axis=(1, 2), keepdims=True)
    b, c = FACTORS["brightness"], FACTORS["contrast"]
    np.testing.assert_allclose(to_numpy(result), b * (c * image + (1 - c) * mean), rtol=1e-4)


def test_values_are_clipped(rng):
    image = rng.uniform(0, 255, (64, 8, 8, 3))
    result = to_numpy(augment.ColorJitter(1.0, 1.0, 1.0, 0.5, seed=1)(image))
    assert result.min() == 0.0
    assert result.max() == 255.0


def test_factors_are_uniform_in_their_ranges():
    jitter = augment.ColorJitter(0.8, 0.4, 0.6, 0.2, seed=3)
    drawn = jitter.draw(np.zeros((4000, 2, 2, 3), "uint8"))
    ranges = {
        "brightness": (0.2, 1.8),
        "contrast": (0.6, 1.4),
        "saturation": (0.4, 1.6),
        "hue": (-0.2, 0.2),
    }
    for name, (low, high) in ranges.items():
        values = to_numpy(drawn[name])
        assert low - 1e-6 <= values.min() <= values.max() <= high + 1e-6
        assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-4
    # independent of one another
    correlations = np.corrcoef([to_numpy(drawn[name]) for name in ranges])
    assert np.abs(correlations - np.eye(4)).max() < 0.08


def test_probability_applies_to_the_four_together():
    jitter = augment.ColorJitter(0.8, 0.8, 0.8, 0.2, probability=0.3, seed=4)
    drawn = jitter.draw(np.zeros((4000, 2, 2, 3), "uint8"))
    changed = to_numpy(drawn["brightness"]) != 1.0
    assert stats.binomtest(int(changed.sum()), 4000, 0.3).pvalue > 1e-4
    np.testing.assert_array_equal(changed, to_numpy(drawn["hue"]) != 0.0)


@pytest.mark.parametrize(
    "arguments",
    [{"brightness": 1.5}, {"contrast": -0.1}, {"saturation": float("nan")}, {"hue": 0.6}],
)
def test_bad_strengths_are_named(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`.*Received"):
        augment.ColorJitter(**arguments)


def test_bad_types_and_ranges_are_named():
    with pytest.raises(TypeError, match=r"`hue`"):
        augment.ColorJitter(hue="much")
    with pytest.raises(ValueError, match=r"`value_range`"):
        augment.ColorJitter(value_range=(1, 1))
    with pytest.raises(ValueError, match=r"`probability`"):
        augment.ColorJitter(probability=1.1)
