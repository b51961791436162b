import keras
import numpy as np
import pytest

from keras_ssl.visualize import plot_attention


def test_maps_are_the_scores_on_the_grid(rng):
    images, scores = rng.uniform(0, 255, (3, 8, 12, 1)), rng.uniform(size=(3, 2, 6))
    figure = plot_attention(images, keras.ops.convert_to_tensor(scores), (2, 3), max_images=2)
    shown = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert len(shown) == 2 * 4
    for row in range(2):
        image, mean, *heads = shown[4 * row : 4 * row + 4]
        np.testing.assert_allclose(image, images[row, ..., 0] / 255, atol=1e-6)
        np.testing.assert_allclose(heads, scores[row].reshape(2, 2, 3), atol=1e-6)
        np.testing.assert_allclose(mean, scores[row].mean(axis=0).reshape(2, 3), atol=1e-6)
    assert [axes.get_title() for axes in figure.axes[:4]] == ["image", "mean", "head 1", "head 2"]


def test_a_square_grid_is_found_and_the_figure_saved(rng, tmp_path):
    path = tmp_path / "new" / "attention.png"
    plot_attention(rng.uniform(0, 1, (1, 8, 8, 3)), np.ones((1, 1, 16)), path=path)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize(
    ("scores", "grid", "message"),
    [
        (np.ones((2, 17)), None, "shape .2, heads, patches.*shape=.2, 17"),
        (np.ones((3, 2, 16)), None, "shape .2, heads"),
        (np.ones((2, 2, 17)), None, "Leave out those for a class token.*17 scores"),
        (np.ones((2, 2, 16)), (2, 4), "grid=.2, 4., 16 scores"),
        (np.full((2, 2, 16), np.nan), None, "finite"),
    ],
)
def test_scores_that_do_not_fit(scores, grid, message):
    with pytest.raises(ValueError, match=message):
        plot_attention(np.zeros((2, 8, 8, 3)), scores, grid)
