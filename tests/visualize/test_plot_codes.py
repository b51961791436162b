import numpy as np
import pytest

from keras_ssl.visualize import plot_codes


def test_rows_are_the_most_frequent_codes_and_their_patches():
    codes = np.array([[4, 4, 4, 2], [4, 2, 7, 4]])
    # each patch of 2x2 pixels has its own gray value
    patches = np.arange(8).reshape(2, 2, 2)
    images = np.kron(patches, np.ones((1, 2, 2)))[..., None] * 10
    figure = plot_codes(images, codes, codebook_size=9, max_codes=2, patches=3, context=0)
    assert figure.get_suptitle() == "3 of 9 codes in use"
    rows = np.reshape(figure.axes, (2, 3))
    assert [row[0].get_ylabel() for row in rows] == ["code 4\n62.5 %", "code 2\n25.0 %"]
    values = [
        [round(float(np.mean(axes.images[0].get_array())) * 25.5) for axes in row if axes.images]
        for row in rows
    ]
    assert values == [[0, 4, 1], [3, 5]]  # one of each image before a second one


def test_surroundings_of_patches_at_the_border_are_black():
    figure = plot_codes(np.full((1, 4, 4, 3), 255), np.zeros((1, 4), int), patches=1)
    (axes,) = figure.axes
    shown = np.asarray(axes.images[0].get_array())
    assert shown.shape == (6, 6, 3)
    assert shown[:2].max() == shown[:, :2].max() == 0 and shown[2:, 2:].min() == 1
    (frame,) = axes.patches  # around the patch itself, pixels 2 and 3
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((1.5, 1.5), 2, 2)


@pytest.mark.parametrize(
    ("codes", "grid", "message"),
    [
        (np.zeros((2, 4)), None, "integers.*float64"),
        (np.zeros((1, 4), int), None, "shape .2, patches.*shape=.1, 4"),
        (np.zeros((2, 6), int), None, "6 codes"),
        (np.zeros((2, 6), int), (2, 3), "8x8 pixels"),
    ],
)
def test_codes_that_do_not_fit(codes, grid, message):
    with pytest.raises(ValueError, match=message):
        plot_codes(np.zeros((2, 8, 8, 3)), codes, grid)
