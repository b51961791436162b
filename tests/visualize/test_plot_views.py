import keras
import numpy as np
import pytest

from keras_ssl.visualize import plot_views


def pixels(figure, row, column, columns):
    return np.asarray(figure.axes[row * columns + column].images[0].get_array())


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_color_pixels_equal_the_input(rng, dtype):
    images = rng.integers(0, 256, (3, 6, 5, 3)).astype(dtype)
    first, second = images[:, ::-1], images[:, :, ::-1]
    figure = plot_views(images, (first, second))
    assert len(figure.axes) == 9
    for row, batch in enumerate((images, first, second)):
        for i in range(3):
            np.testing.assert_allclose(pixels(figure, row, i, 3) * 255, batch[i], atol=1e-4)


def test_gray_pixels_and_value_range(rng):
    images = rng.uniform(-1, 1, (2, 4, 4, 1)).astype("float32")
    figure = plot_views(images, 3 * images, value_range=(-1, 1))
    np.testing.assert_allclose(pixels(figure, 0, 1, 2) * 2 - 1, images[1, ..., 0], atol=1e-6)
    # black and white are the ends of the range, not of the image's values
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    clipped = np.clip(3 * images[1, ..., 0], -1, 1)
    np.testing.assert_allclose(pixels(figure, 1, 1, 2) * 2 - 1, clipped, atol=1e-6)


def test_png_shows_the_pixels(tmp_path):
    """A red image above its blue view: the saved file has both colours, in this order."""
    red = np.zeros((1, 8, 8, 3), "uint8") + np.array([255, 0, 0], "uint8")
    blue = red[..., ::-1]
    path = tmp_path / "folder" / "views.png"
    plot_views(red, [blue], path=path)
    picture = keras.utils.img_to_array(keras.utils.load_img(path))
    rows = {}
    for name, color in (("red", [255, 0, 0]), ("blue", [0, 0, 255])):
        found = np.argwhere((picture == color).all(-1))
        assert len(found) > 0.25 * picture.shape[0] * picture.shape[1] / 2
        rows[name] = found[:, 0].mean()
    assert rows["red"] < rows["blue"]


def test_sizes_titles_and_count(rng):
    images = keras.ops.convert_to_tensor(rng.uniform(0, 255, (5, 8, 6, 3)))
    views = [images, images[:, :4, :4]]
    figure = plot_views(images, views, max_images=2, titles=["global", "local"])
    labels = [figure.axes[i].get_ylabel() for i in (0, 2, 4)]
    assert labels == ["original\n6x8 pixels", "global\n6x8 pixels", "local\n4x4 pixels"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((2, 4, 4))}, "`images` must have shape"),
        ({"images": np.zeros((2, 4, 4, 2))}, "`images` must have shape"),
        ({"images": np.zeros((0, 4, 4, 3))}, "`images` must have shape"),
        ({"views": [np.zeros((2, 4, 4))]}, r"`views\[0\]` must have shape"),
        ({"views": np.zeros((3, 4, 4, 3))}, "one view per image"),
        ({"value_range": (1, 0)}, "`value_range`"),
        ({"max_images": 0}, "`max_images`"),
        ({"titles": ["a", "b"]}, "`titles`"),
    ],
)
def test_bad_input(change, message):
    arguments = {"images": np.zeros((2, 4, 4, 3)), "views": np.zeros((2, 4, 4, 3)), **change}
    with pytest.raises(ValueError, match=rf"{message}.*Received"):
        plot_views(**arguments)


def crops(rng, *sizes):
    return tuple(rng.integers(0, 256, (2, size, size, 3)) for size in sizes)


def row_titles(figure, columns=2):
    return [axes.get_ylabel().partition("\n")[0] for axes in figure.axes[::columns]]


def test_views_of_two_sizes_are_named_global_and_local(rng):
    images = rng.integers(0, 256, (2, 32, 32, 3))
    titles = row_titles(plot_views(images, crops(rng, 32, 32, 12, 12)))
    assert titles == ["original", "global 1", "global 2", "local 1", "local 2"]
    assert row_titles(plot_views(images, crops(rng, 16, 16))) == ["original", "view 1", "view 2"]
    named = plot_views(images, crops(rng, 32, 12), titles=["a", "b"])
    assert row_titles(named) == ["original", "a", "b"]


@pytest.mark.parametrize("small", [12, 20, 4])
def test_crops_are_drawn_at_their_size(rng, small):
    images = rng.integers(0, 256, (2, 64, 64, 3))
    figure = plot_views(images, crops(rng, 32, small))
    figure.canvas.draw()
    inches = []
    for axes in figure.axes[2::2]:
        corners = [(-0.5, -0.5), (axes.images[0].get_array().shape[1] - 0.5, 0)]
        (left, _), (right, _) = axes.transData.transform(corners)
        inches.append((right - left) / figure.dpi)
    assert inches[1] / inches[0] == pytest.approx(small / 32, rel=0.02)
    assert inches[0] > 0.7  # the largest ones fill their place
