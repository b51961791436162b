import keras
import numpy as np
import pytest
from matplotlib.colors import to_hex
from sklearn.neighbors import NearestNeighbors

from keras_ssl.visualize import plot_neighbors
from keras_ssl.visualize.plot_neighbors import OTHER_CLASS, SAME_CLASS

N, NEIGHBORS = 30, 5


@pytest.fixture
def images(rng):
    """Images of one gray value each, their index."""
    return np.broadcast_to(np.arange(N, dtype="uint8")[:, None, None, None], (N, 4, 4, 1))


@pytest.fixture
def features(rng):
    return rng.normal(size=(N, 6)).astype("float32")


def shown(figure):
    """The index of each image, by row."""
    values = [round(255 * float(np.mean(axes.images[0].get_array()))) for axes in figure.axes]
    return np.reshape(values, (-1, NEIGHBORS + 1))


def test_neighbors_are_those_of_scikit_learn(images, features):
    queries = [3, 17, 29]
    figure = plot_neighbors(images, features, queries, NEIGHBORS)
    search = NearestNeighbors(n_neighbors=NEIGHBORS + 1, metric="cosine").fit(features)
    distances, expected = search.kneighbors(features[queries])
    np.testing.assert_array_equal(shown(figure), expected)  # the nearest is the query itself
    labels = [axes.get_xlabel() for axes in figure.axes]
    written = np.reshape([float(one or 1) for one in labels], (3, -1))
    np.testing.assert_allclose(written, 1 - distances, atol=0.006)
    assert figure.axes[0].get_ylabel() == "image 3"


def test_frames_tell_whether_the_class_is_that_of_the_query(images, features):
    labels = np.arange(N) % 3
    figure = plot_neighbors(images, features, [4], NEIGHBORS, labels, ["a", "b", "c"])
    (row,) = shown(figure)
    for index, axes in zip(row[1:], figure.axes[1:], strict=True):
        expected = SAME_CLASS if labels[index] == labels[4] else OTHER_CLASS
        assert to_hex(axes.spines["left"].get_edgecolor()) == expected
        assert axes.spines["left"].get_visible()
    assert figure.axes[0].get_ylabel() == "b"
    assert not figure.axes[0].spines["left"].get_visible()


def test_a_number_of_queries_is_spread_over_the_images(images, features):
    figure = plot_neighbors(images, features, 3, NEIGHBORS)
    np.testing.assert_array_equal(shown(figure)[:, 0], [0, 14, 29])


def test_lengths_of_features_do_not_matter_and_a_zero_is_nobodys_neighbor(images, features, rng):
    one = shown(plot_neighbors(images, features, [1, 2], NEIGHBORS))
    scaled = features * rng.uniform(0.1, 10, (N, 1))
    np.testing.assert_array_equal(shown(plot_neighbors(images, scaled, [1, 2], NEIGHBORS)), one)
    features[:] = 0
    assert len(shown(plot_neighbors(images, features, [1], NEIGHBORS))) == 1


def test_png(tmp_path, images, features):
    path = tmp_path / "neighbors.png"
    plot_neighbors(20 * images, features, path=path, title="nearest")
    picture = keras.utils.img_to_array(keras.utils.load_img(path))
    assert picture.shape[0] > 300 and picture.std() > 5


@pytest.mark.parametrize(
    "change",
    [
        {"features": np.zeros((3, 2))},
        {"features": np.full((N, 2), np.nan)},
        {"images": np.zeros((N, 4, 4))},
        {"neighbors": N},
        {"neighbors": 0},
        {"queries": [N]},
        {"queries": [-1]},
        {"queries": []},
        {"queries": 0},
        {"labels": np.zeros(3, int)},
        {"class_names": ["a"]},
        {"value_range": (1, 0)},
    ],
)
def test_bad_input_is_refused(images, features, change):
    with pytest.raises(ValueError, match="Received"):
        plot_neighbors(**{"images": images, "features": features, **change})


def test_images_without_a_label_have_no_frame(images, features):
    labels = np.where(np.arange(N) % 2 == 0, -1, 1)
    figure = plot_neighbors(images, features, [4, 5], NEIGHBORS, labels)
    indices = shown(figure).ravel()
    for number, axes in enumerate(figure.axes):
        is_query = number % (NEIGHBORS + 1) == 0
        query = indices[number - number % (NEIGHBORS + 1)]
        expected = not is_query and labels[indices[number]] == labels[query] == 1
        assert axes.spines["left"].get_visible() == expected
    assert figure.axes[0].get_ylabel() == "no label"
