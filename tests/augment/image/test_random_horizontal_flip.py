import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_flip_is_exact_and_each_image_has_its_own(rng):
    images = rng.integers(0, 256, (40, 5, 7, 3)).astype("uint8")
    flip = augment.RandomHorizontalFlip(seed=0)
    parameters = flip.draw(images)
    flipped = to_numpy(parameters["flip"])
    assert 0 < flipped.sum() < 40
    expected = np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
    np.testing.assert_array_equal(to_numpy(flip.apply(images, parameters)), expected)


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_rate_of_flips(probability):
    flip = augment.RandomHorizontalFlip(probability, seed=1)
    drawn = to_numpy(flip.draw(np.zeros((4000, 1, 1, 1), "uint8"))["flip"])
    assert stats.binomtest(int(drawn.sum()), 4000, probability).pvalue > 1e-4


@pytest.mark.parametrize("probability", [-0.1, 1.01, float("nan")])
def test_bad_probability_is_named(probability):
    with pytest.raises(ValueError, match=r"`probability`.*from 0 to 1.*Received"):
        augment.RandomHorizontalFlip(probability)
