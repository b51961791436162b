import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_solarize_equals_pillow(rng):
    from PIL import Image, ImageOps

    images = rng.integers(0, 256, (3, 6, 6, 3)).astype("uint8")
    result = to_numpy(augment.RandomSolarize(100, probability=1.0)(images))
    for image, solarized in zip(images, result, strict=True):
        expected = np.asarray(ImageOps.solarize(Image.fromarray(image), threshold=100))
        np.testing.assert_array_equal(solarized, expected)


def test_default_threshold_is_the_middle_of_the_range():
    images = np.array([0.49, 0.5, 0.75]).reshape(1, 1, 3, 1)
    result = augment.RandomSolarize(probability=1.0, value_range=(0, 1))(images)
    np.testing.assert_allclose(to_numpy(result).ravel(), [0.49, 0.5, 0.25], rtol=1e-6)


def test_rate():
    solarize = augment.RandomSolarize(probability=0.2, seed=1)
    threshold = to_numpy(solarize.draw(np.zeros((4000, 1, 1, 3)))["threshold"])
    solarized = int(np.isfinite(threshold).sum())
    assert stats.binomtest(solarized, 4000, 0.2).pvalue > 1e-4


def test_a_threshold_outside_the_range_is_named():
    with pytest.raises(ValueError, match=r"`threshold`.*Received"):
        augment.RandomSolarize(threshold=128, value_range=(0, 1))
