import numpy as np
import pytest

from keras_ssl.visualize import plot_denoising


def test_a_row_is_an_image_from_noise_to_data(rng):
    frames = rng.uniform(0, 255, (4, 3, 8, 8, 3))
    figure = plot_denoising(frames, max_images=2)
    whole = np.asarray(figure.axes[0].images[0].get_array())
    assert whole.shape == (2 * 10 - 2, 4 * 10 - 2, 3)
    for row in range(2):
        for column in range(4):
            found = whole[10 * row : 10 * row + 8, 10 * column : 10 * column + 8]
            np.testing.assert_allclose(found, frames[column, row] / 255, atol=1e-6)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["25 %", "50 %", "75 %", "100 %"]


@pytest.mark.parametrize("shape", [(4, 8, 8, 1), (0, 2, 8, 8, 1), (4, 0, 8, 8, 1), (4, 2, 8, 8, 2)])
def test_frames_of_another_shape(shape):
    with pytest.raises(ValueError, match="`frames` must have shape"):
        plot_denoising(np.zeros(shape))
