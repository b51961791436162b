import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_gray_equals_keras(rng):
    images = rng.uniform(0, 255, (5, 6, 6, 3)).astype("float32")
    result = to_numpy(augment.Grayscale(1.0)(images))
    expected = to_numpy(keras.ops.image.rgb_to_grayscale(images, data_format="channels_last"))
    # Keras rounds the weight of red to 0.2989
    np.testing.assert_allclose(result, np.repeat(expected, 3, axis=-1), atol=0.05)
    luma = images.astype("float64") @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(result[..., 0], luma, rtol=1e-5)


def test_images_that_are_not_drawn_keep_their_colours(rng):
    images = rng.integers(0, 256, (5, 6, 6, 3)).astype("uint8")
    result = to_numpy(augment.Grayscale(0.0)(images))
    np.testing.assert_allclose(result, images, atol=1e-3)


def test_rate():
    drawn = augment.Grayscale(0.2, seed=1).draw(np.zeros((4000, 1, 1, 3)))
    gray = int((to_numpy(drawn["chroma"]) == 0).sum())
    assert stats.binomtest(gray, 4000, 0.2).pvalue > 1e-4


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channel_counts_are_an_error_unless_allowed(rng, channels):
    images = rng.uniform(0, 255, (2, 4, 4, channels)).astype("float32")
    with pytest.raises(ValueError, match=f"3 channels.*Received: {channels} channels"):
        augment.Grayscale(1.0)(images)
    result = to_numpy(augment.Grayscale(1.0, strict=False)(images))
    np.testing.assert_array_equal(result, images)
