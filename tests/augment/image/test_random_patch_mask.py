import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def hidden_patches(layer, images, fill):
    """Which patches are hidden, found by a loop; all others must be as they were."""
    result = to_numpy(layer(images))
    assert result.dtype == "float32" and result.shape == images.shape
    rows, columns = layer.grid
    height, width = images.shape[1] // rows, images.shape[2] // columns
    hidden = np.zeros((len(images), rows, columns), bool)
    for i, row, column in np.ndindex(hidden.shape):
        place = (
            i,
            slice(row * height, (row + 1) * height),
            slice(column * width, (column + 1) * width),
        )
        hidden[i, row, column] = np.all(result[place] == fill)
        if not hidden[i, row, column]:
            np.testing.assert_array_equal(result[place], images[place])
    return hidden


def test_hides_the_same_number_of_whole_patches_in_each_image(rng):
    images = rng.integers(0, 100, (8, 12, 20, 3)).astype("uint8")
    hidden = hidden_patches(augment.RandomPatchMask((3, 5), 0.3, seed=1), images, fill=127.5)
    assert hidden.sum(axis=(1, 2)).tolist() == [5] * 8  # 0.3 * 15, rounded up
    assert len({patches.tobytes() for patches in hidden}) == 8


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.7, 7), (0.15, 2), (0.9, 9)])
def test_share_is_rounded_up(share, count):
    images = np.ones((3, 2, 5, 1), "float32")
    hidden = hidden_patches(augment.RandomPatchMask((2, 5), share, fill=0), images, fill=0)
    assert hidden.sum(axis=(1, 2)).tolist() == [count] * 3


def test_all_patches_are_equally_likely():
    layer = augment.RandomPatchMask(4, 0.25, seed=2)
    hidden = to_numpy(layer.draw(np.zeros((4000, 8, 8, 1)))["hidden"])
    # the counts of one image are not independent: only each patch by itself is tested
    for count in hidden.sum(axis=0).ravel():
        assert stats.binomtest(int(count), 4000, 0.25).pvalue > 1e-5


def test_default_fill_is_the_middle_of_the_range():
    images = np.full((2, 4, 4, 1), 0.9, "float32")
    layer = augment.RandomPatchMask(2, 0.5, value_range=(-1, 0.5), seed=0)
    assert set(np.unique(to_numpy(layer(images))).round(4)) == {-0.25, np.float32(0.9).round(4)}


def test_equal_numbers_hide_no_more_patches():
    layer = augment.RandomPatchMask(4, 0.5)
    hidden = layer.parameters(np.full((3, 16), 0.5, "float32"), (8, 8, 1))["hidden"]
    assert to_numpy(hidden).sum(axis=(1, 2)).tolist() == [8] * 3


def test_images_do_not_change_outside_training(rng):
    images = rng.uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    at_rest = augment.RandomPatchMask(4, 0.5)(images, training=False)
    np.testing.assert_array_equal(to_numpy(at_rest), images)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"grid": 0}, ValueError, "`grid`.*Received"),
        ({"grid": 2.5}, TypeError, "`grid`.*Received"),
        ({"grid": (2, 2, 2)}, ValueError, "`grid`.*Received"),
        ({"grid": 2, "share": 1.0}, ValueError, "`share` must leave.*Received"),
        ({"grid": 2, "share": 0.8}, ValueError, "`share` must leave.*Received"),
        ({"grid": 2, "share": -0.1}, ValueError, "`share`.*Received"),
        ({"grid": 2, "fill": 300}, ValueError, "`fill`.*Received"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        augment.RandomPatchMask(**arguments)


def test_a_grid_that_does_not_divide_the_images_is_named():
    with pytest.raises(ValueError, match=r"5 does not divide the width.*\(8, 8\)"):
        augment.RandomPatchMask((2, 5))(np.zeros((2, 8, 8, 1)))
