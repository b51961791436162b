import keras
import numpy as np
import pytest

from keras_ssl.visualize import plot_samples


def shown(figure):
    return np.asarray(figure.axes[0].images[0].get_array())


def test_images_stand_row_by_row_with_white_between(rng):
    images = rng.uniform(-1, 1, (5, 4, 6, 3))
    figure = plot_samples(keras.ops.convert_to_tensor(images), columns=3, value_range=(-1, 1))
    whole = shown(figure)
    assert whole.shape == (2 * 4 + 2, 3 * 6 + 2 * 2, 3)
    is_image = np.zeros(whole.shape, bool)
    for number, image in enumerate(images):
        top, left = 6 * (number // 3), 8 * (number % 3)
        place = np.s_[top : top + 4, left : left + 6]
        np.testing.assert_allclose(whole[place], (image + 1) / 2, atol=1e-6)
        is_image[place] = True
    assert np.all(whole[~is_image] == 1)


def test_few_images_fill_one_row_and_gray_ones_have_no_channel(rng):
    images = rng.integers(0, 256, (3, 8, 8, 1))
    whole = shown(plot_samples(images))
    np.testing.assert_allclose(whole[:, 10:18], images[1, ..., 0] / 255)
    assert whole.shape == (8, 28)


def test_titles_stand_above_the_middle_of_columns(tmp_path):
    path = tmp_path / "new" / "samples.png"
    figure = plot_samples(np.zeros((4, 8, 8, 1)), 2, ["shirt", "coat"], path=path)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["shirt", "coat"]
    np.testing.assert_allclose(axes.get_xticks(), [3.5, 13.5])
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((4, 8, 8))}, "`images` must have shape.*4, 8, 8"),
        ({"columns": 0}, "`columns` must be a positive integer"),
        ({"titles": ["one"]}, "one title per column, 8.*1 titles"),
        ({"value_range": (1, 0)}, "value_range=.1, 0"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        plot_samples(**{"images": np.zeros((4, 8, 8, 1)), **change})
