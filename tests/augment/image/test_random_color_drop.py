import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_one_channel_is_kept_and_the_others_are_0(rng):
    images = rng.uniform(1, 255, (32, 4, 4, 3)).astype("float32")
    result = to_numpy(augment.RandomColorDrop(seed=0)(images))
    kept = np.argmax(result[:, 0, 0], axis=-1)
    assert set(kept) == {0, 1, 2}
    for image, before, channel in zip(result, images, kept, strict=True):
        expected = np.zeros_like(before)
        expected[..., channel] = before[..., channel]
        np.testing.assert_allclose(image, expected, atol=1e-3)


def test_rates():
    drawn = augment.RandomColorDrop(0.3, seed=1).draw(np.zeros((4000, 1, 1, 3)))
    keep = to_numpy(drawn["keep"])
    dropped = keep[keep.sum(axis=1) == 1]
    assert stats.binomtest(len(dropped), 4000, 0.3).pvalue > 1e-4
    assert stats.chisquare(dropped.sum(axis=0)).pvalue > 1e-4


def test_images_not_drawn_or_of_one_channel_do_not_change(rng):
    for channels, probability in ((3, 0.0), (1, 1.0)):
        images = rng.integers(0, 256, (5, 6, 6, channels)).astype("uint8")
        result = to_numpy(augment.RandomColorDrop(probability)(images))
        np.testing.assert_allclose(result, images, atol=1e-3)


def test_uniform_numbers_near_1_keep_the_last_channel():
    layer = augment.RandomColorDrop()
    drawn = layer.parameters(
        np.array([[np.nextafter(np.float32(1), 0), 0.0]], "float32"), (1, 1, 3)
    )
    np.testing.assert_array_equal(drawn["keep"], [[0, 0, 1]])


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_refuses_other_probabilities(probability):
    with pytest.raises(ValueError, match="`probability`"):
        augment.RandomColorDrop(probability)
