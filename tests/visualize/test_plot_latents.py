import keras
import numpy as np
import pytest
from scipy.spatial import geometric_slerp

from keras_ssl.visualize import plot_interpolation, plot_traversal


class Recorder:
    """A decoder that notes its latents, and makes images of one gray value: the first variable."""

    def __call__(self, z):
        self.z = keras.ops.convert_to_numpy(z)
        return np.ones((len(z), 4, 4, 1)) * self.z.reshape(len(z), -1)[:, :1, None, None]


def shown(figure, rows, columns):
    """The gray value of each image."""
    whole = np.asarray(figure.axes[0].images[0].get_array())
    assert whole.shape == (6 * rows - 2, 6 * columns - 2)
    return whole[1::6, 1::6]


def names(figure):
    axes = figure.axes[0]
    return [
        [label.get_text() for label in labels]
        for labels in (axes.get_yticklabels(), axes.get_xticklabels())
    ]


def test_traversal_changes_one_variable_in_each_row():
    decode, latent = Recorder(), np.array([0.5, -0.25, 1.0], "float32")
    values = (-2, 0, 1.5)
    figure = plot_traversal(decode, latent, [2, 0], values, value_range=(-2, 2))
    expected = [[0.5, -0.25, v] for v in values] + [[v, -0.25, 1.0] for v in values]
    np.testing.assert_allclose(decode.z, expected)
    gray = shown(figure, 2, 3)
    np.testing.assert_allclose(gray, [[0.625] * 3, [0, 0.5, 0.875]])
    assert names(figure) == [["variable 2", "variable 0"], ["-2", "0", "1.5"]]


def test_traversal_takes_a_layer_and_the_first_variables(tmp_path):
    decoder = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(16), keras.layers.Reshape((4, 4, 1))]
    )
    path = tmp_path / "traversal.png"
    figure = plot_traversal(decoder, np.zeros(3), 2, value_range=(-3, 3), path=path)
    kernel = decoder.get_weights()[0].reshape(3, 4, 4)
    whole = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(whole[6:10, 36:40], (3 * kernel[1] + 3) / 6, atol=1e-6)
    assert names(figure)[0] == ["variable 0", "variable 1"] and path.stat().st_size > 1000


def test_interpolation_goes_along_a_line(rng):
    starts, ends = rng.normal(size=(2, 3, 2, 5)).astype("float32")
    decode = Recorder()
    figure = plot_interpolation(decode, starts, ends, steps=5, value_range=(-3, 3))
    z = decode.z.reshape(3, 5, 2, 5)
    np.testing.assert_allclose(z, np.linspace(starts, ends, 5, axis=1), atol=1e-6)
    np.testing.assert_allclose(shown(figure, 3, 5), (z[:, :, 0, 0] + 3) / 6, atol=1e-6)


def test_interpolation_along_an_arc_is_that_of_scipy(rng):
    starts, ends = rng.normal(size=(2, 2, 7))
    units = [one / np.linalg.norm(one, axis=-1, keepdims=True) for one in (starts, ends)]
    decode = Recorder()
    plot_interpolation(decode, *units, steps=6, spherical=True)
    expected = [geometric_slerp(*pair, np.linspace(0, 1, 6)) for pair in zip(*units, strict=True)]
    np.testing.assert_allclose(decode.z, np.concatenate(expected), atol=1e-6)


def test_an_arc_between_equal_directions_is_a_line():
    decode = Recorder()
    plot_interpolation(decode, [[1.0, 0.0]], [[3.0, 0.0]], steps=3, spherical=True)
    np.testing.assert_allclose(decode.z, [[1, 0], [2, 0], [3, 0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent": np.zeros((1, 3))}, "`latent` must be finite numbers of shape .n,.*1, 3"),
        ({"latent": np.array([0, np.nan])}, "`latent` must be finite"),
        ({"values": ()}, "`values` must be"),
        ({"dimensions": [3]}, "indices from 0 to 2.*3"),
        ({"dimensions": [-1]}, "indices from 0 to 2"),
        ({"dimensions": []}, "indices from 0 to 2"),
        ({"dimensions": 0}, "`dimensions` must be a positive integer"),
        ({"decode": lambda z: np.zeros((1, 4, 4, 1))}, "one image per latent.*1 images for 21"),
        ({"decode": lambda z: z}, r"`decode\(latents\)` must have shape"),
    ],
)
def test_bad_input_of_a_traversal(change, message):
    with pytest.raises(ValueError, match=message):
        plot_traversal(**{"decode": Recorder(), "latent": np.zeros(3), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ends": np.ones((1, 2))}, "same shape.*2, 2.*1, 2"),
        ({"steps": 1}, "`steps`"),
        ({"ends": np.zeros((2, 2)), "spherical": True}, "not zero"),
        ({"ends": -np.ones((2, 2)), "spherical": True}, "opposite"),
    ],
)
def test_bad_input_of_an_interpolation(change, message):
    arguments = {"decode": Recorder(), "starts": np.ones((2, 2)), "ends": np.eye(2), **change}
    with pytest.raises(ValueError, match=message):
        plot_interpolation(**arguments)
