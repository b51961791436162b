import keras
import numpy as np
import pytest
from scipy import ndimage, stats

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


@pytest.mark.parametrize("shape", [(4, 20, 20, 3), (4, 20, 14, 1)])
def test_blur_equals_scipy_renormalised_at_the_border(rng, shape):
    images = rng.uniform(0, 255, shape)
    blur = augment.GaussianBlur((0.3, 3.0), probability=1.0, seed=0)
    parameters = blur.draw(images)
    result = to_numpy(blur.apply(images, parameters))
    for image, sigma, blurred in zip(
        images, to_numpy(parameters["sigma"]).astype("float64"), result, strict=True
    ):
        widths = (sigma, sigma, 0)
        settings = {"mode": "constant", "truncate": 40}
        expected = ndimage.gaussian_filter(image, widths, **settings)
        expected /= ndimage.gaussian_filter(np.ones_like(image), widths, **settings)
        np.testing.assert_allclose(blurred, expected, atol=255 * 1e-4)


def test_widths_are_uniform_and_probability_holds():
    blur = augment.GaussianBlur((0.1, 2.0), probability=0.4, seed=1)
    sigma = to_numpy(blur.draw(np.zeros((4000, 1, 1, 1)))["sigma"])
    blurred = sigma[sigma > 0]
    assert stats.binomtest(len(blurred), 4000, 0.4).pvalue > 1e-4
    assert stats.kstest(blurred, stats.uniform(0.1, 1.9).cdf).pvalue > 1e-4


def test_images_that_are_not_drawn_do_not_change(rng):
    images = rng.integers(0, 256, (3, 8, 8, 3)).astype("uint8")
    result = to_numpy(augment.GaussianBlur(probability=0.0)(images))
    np.testing.assert_allclose(result, images, rtol=1e-6)


@pytest.mark.parametrize("sigma", [(0.0, 1.0), (2.0, 1.0), 1.0, (1.0, float("inf"))])
def test_bad_sigma_is_named(sigma):
    with pytest.raises(ValueError, match=r"`sigma`.*Received"):
        augment.GaussianBlur(sigma)
