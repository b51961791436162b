import numpy as np
import pytest
from sklearn.metrics import mean_squared_error

from keras_ssl.visualize import plot_reconstructions


def test_rows_are_images_and_reconstructions_with_their_errors(rng):
    images = rng.integers(0, 256, (3, 8, 8, 1)).astype("uint8")
    made = {"seen": 255.0 - images, "repaired": images + rng.normal(0, 20, images.shape)}
    figure = plot_reconstructions(images, made, max_images=2)
    whole = np.asarray(figure.axes[0].images[0].get_array())
    assert whole.shape == (3 * 10 - 2, 2 * 10 - 2)
    for row, one in enumerate([images, *made.values()]):
        for column in range(2):
            found = whole[10 * row : 10 * row + 8, 10 * column : 10 * column + 8]
            np.testing.assert_allclose(found, (one[column, ..., 0] / 255).clip(0, 1), atol=1e-6)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    errors = [mean_squared_error(images.ravel() / 255, one.ravel() / 255) for one in made.values()]
    assert names[0] == "image"
    assert names[1:] == [
        f"{name}\nerror {error:.4f}" for name, error in zip(made, errors, strict=True)
    ]


def test_one_reconstruction_needs_no_name(tmp_path):
    path = tmp_path / "reconstructions.png"
    images = np.zeros((2, 4, 4, 3))
    figure = plot_reconstructions(images, images - 1, value_range=(-1, 1), path=path)
    (_, name) = figure.axes[0].get_yticklabels()
    assert name.get_text() == "reconstructed\nerror 0.2500"
    assert path.stat().st_size > 1000


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape of the images.*2, 4, 4, 1.*of 'late'"):
        plot_reconstructions(np.zeros((2, 4, 4, 1)), {"late": np.zeros((1, 4, 4, 1))})
