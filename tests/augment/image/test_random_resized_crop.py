import keras
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def boxes(crop, shape):
    return {name: to_numpy(value) for name, value in crop.draw(np.zeros(shape, "uint8")).items()}


def test_crop_equals_pillow_of_the_same_box(rng):
    images = rng.integers(0, 256, (6, 40, 30, 3)).astype("uint8")
    crop = augment.RandomResizedCrop((16, 12), seed=0)
    parameters = crop.draw(images)
    views = to_numpy(crop.apply(images, parameters))
    p = {name: to_numpy(value).astype("float64") for name, value in parameters.items()}
    for n in range(6):
        left, top = p["left"][n], p["top"][n]
        box = (left, top, min(left + p["width"][n], 30.0), min(top + p["height"][n], 40.0))
        for channel in range(3):
            plane = Image.fromarray(images[n, :, :, channel].astype("float32"), mode="F")
            expected = plane.resize((12, 16), Image.Resampling.BILINEAR, box=box)
            np.testing.assert_allclose(views[n, :, :, channel], expected, atol=255 * 1e-4)


def test_distributions_of_areas_ratios_and_places():
    # small crops of modest ratio always fit, so that no draw is rejected
    crop = augment.RandomResizedCrop(8, scale=(0.1, 0.5), ratio=(3 / 4, 4 / 3), seed=1)
    p = boxes(crop, (4000, 64, 64, 1))
    area = p["height"] * p["width"] / 64**2
    assert stats.kstest(area, stats.uniform(0.1, 0.4).cdf).pvalue > 1e-4
    log_ratio = np.log(p["width"] / p["height"])
    low, high = np.log(3 / 4), np.log(4 / 3)
    assert stats.kstest(log_ratio, stats.uniform(low, high - low).cdf).pvalue > 1e-4
    for start, length in (("top", "height"), ("left", "width")):
        place = p[start] / (64 - p[length])
        assert stats.kstest(place, stats.uniform(0, 1).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(area, log_ratio)[0, 1]) < 0.08


@pytest.mark.parametrize("shape", [(2000, 32, 32, 1), (2000, 20, 48, 1), (2000, 48, 20, 1)])
def test_crops_stay_inside_the_image_and_the_ranges(shape):
    crop = augment.RandomResizedCrop(8, seed=2)
    p = boxes(crop, shape)
    height, width = shape[1:3]
    assert p["top"].min() >= 0 and p["left"].min() >= 0
    assert (p["top"] + p["height"]).max() <= height * (1 + 1e-6)
    assert (p["left"] + p["width"]).max() <= width * (1 + 1e-6)
    area = p["height"] * p["width"] / (height * width)
    assert area.min() >= 0.08 - 1e-6 and area.max() <= 1 + 1e-6
    ratio = p["width"] / p["height"]
    assert ratio.min() >= 3 / 4 - 1e-5 and ratio.max() <= 4 / 3 + 1e-5


def test_draws_that_do_not_fit_are_drawn_again():
    # against NumPy's rejection sampling of the same distribution
    rng = np.random.default_rng(0)
    area = rng.uniform(0.08, 1.0, 40000)
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3), 40000))
    fits = (area * ratio <= 1) & (area / ratio <= 1)
    p = boxes(augment.RandomResizedCrop(8, seed=3), (4000, 32, 32, 1))
    drawn = p["height"] * p["width"] / 32**2
    assert stats.ks_2samp(drawn, area[fits]).pvalue > 1e-4


@pytest.mark.parametrize(("shape", "expected"), [((8, 64), (8, 10.667)), ((64, 8), (10.667, 8))])
def test_where_nothing_fits_the_crop_is_the_largest_central_one(shape, expected):
    crop = augment.RandomResizedCrop(4, scale=(0.9, 1.0), seed=4)
    p = boxes(crop, (5, *shape, 1))
    np.testing.assert_allclose(p["height"], expected[0], rtol=1e-3)
    np.testing.assert_allclose(p["width"], expected[1], rtol=1e-3)
    np.testing.assert_allclose(p["top"] + p["height"] / 2, shape[0] / 2, rtol=1e-5)
    np.testing.assert_allclose(p["left"] + p["width"] / 2, shape[1] / 2, rtol=1e-5)


def test_outside_training_the_whole_image_is_resized(rng):
    images = rng.uniform(0, 255, (2, 20, 16, 1)).astype("float32")
    views = to_numpy(augment.RandomResizedCrop(8)(images, training=False))
    for image, view in zip(images, views, strict=True):
        plane = Image.fromarray(image[:, :, 0], mode="F")
        expected = plane.resize((8, 8), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(view[:, :, 0], expected, atol=255 * 1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_size_beyond_the_image_asks_for_resizing(training):
    with pytest.raises(ValueError, match=r"keras\.layers\.Resizing"):
        augment.RandomResizedCrop(33)(np.zeros((2, 32, 40, 3)), training=training)
    with pytest.raises(ValueError, match=r"keras\.layers\.Resizing"):
        augment.RandomResizedCrop(33)(keras.Input((32, 40, 3)))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"size": 0}, ValueError),
        ({"size": 8.5}, TypeError),
        ({"size": (8, 8, 3)}, ValueError),
        ({"size": 8, "scale": (0.0, 1.0)}, ValueError),
        ({"size": 8, "scale": (0.5, 0.2)}, ValueError),
        ({"size": 8, "scale": (0.5, 1.2)}, ValueError),
        ({"size": 8, "scale": 0.5}, ValueError),
        ({"size": 8, "ratio": (-1, 1)}, ValueError),
        ({"size": 8, "seed": "one"}, TypeError),
    ],
)
def test_bad_arguments_are_named(arguments, error):
    name = list(arguments)[-1]
    with pytest.raises(error, match=f"`{name}`.*Received"):
        augment.RandomResizedCrop(**arguments)
