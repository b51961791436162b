import keras
import numpy as np
import pytest
from matplotlib.colors import to_hex
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from keras_ssl.visualize import plot_embedding
from keras_ssl.visualize._figures import COLORS


def drawn(figure):
    """Points and hex colours of all collections, joined."""
    points, colors = [], []
    for collection in figure.axes[0].collections:
        points.append(np.asarray(collection.get_offsets()))
        colors += [to_hex(color) for color in collection.get_facecolors()]
    return np.concatenate(points), colors


def sort_rows(points):
    return points[np.lexsort(points.T)]


def test_colors_of_points_match_labels(rng):
    features = rng.normal(size=(60, 2)).astype("float32")
    labels = rng.integers(0, 10, 60)
    points, colors = drawn(plot_embedding(features, labels))
    assert len(points) == 60
    for point, color in zip(points, colors, strict=True):
        label = labels[np.abs(features - point).sum(1).argmin()]
        assert color == COLORS[label]


def test_more_classes_than_colors_use_the_next_marker(rng):
    features = rng.normal(size=(50, 2)).astype("float32")
    labels = np.arange(50) % 25
    collections = plot_embedding(features, labels).axes[0].collections
    assert len(collections) == 3
    outlines = {collection.get_paths()[0].vertices.shape for collection in collections}
    assert len(outlines) == 3
    for i, collection in enumerate(collections):
        expected = features[(labels >= 10 * i) & (labels < 10 * i + 10)]
        np.testing.assert_allclose(sort_rows(collection.get_offsets()), sort_rows(expected))


def test_projection_is_used(rng):
    features = rng.normal(size=(40, 8)).astype("float32")
    figure = plot_embedding(features, projection=PCA(2))
    points, _ = drawn(figure)
    # PCA's columns may come with the other sign
    expected = PCA(2).fit_transform(features)
    np.testing.assert_allclose(np.sort(np.abs(points), 0), np.sort(np.abs(expected), 0), atol=1e-4)
    assert figure.axes[0].get_xlabel().startswith("PCA")


def test_default_projection_keeps_far_classes_apart(rng):
    labels = np.arange(90) % 3
    features = 10 * np.eye(3, 64)[labels] + rng.normal(size=(90, 64))
    points, colors = drawn(plot_embedding(features, labels))
    assert silhouette_score(points, colors) > 0.5
    again, _ = drawn(plot_embedding(features, labels))
    np.testing.assert_allclose(points, again, atol=1e-3)


def test_subset_is_drawn_from_the_features_and_keeps_labels():
    values = np.arange(100)
    features = np.stack([values, values // 50], -1).astype("float32")
    figure = plot_embedding(features, values // 50, max_points=30, seed=1)
    points, colors = drawn(figure)
    assert len(np.unique(points[:, 0])) == 30
    assert colors == [COLORS[int(y)] for y in points[:, 1]]
    assert "30 of 100 points" in figure.axes[0].get_title()


def test_legend_has_only_present_classes(rng):
    figure = plot_embedding(rng.normal(size=(10, 2)), np.arange(10) % 2 * 2, ["a", "b", "c"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "c"]


def test_png(tmp_path, rng):
    path = tmp_path / "embedding.png"
    labels = keras.ops.convert_to_tensor(np.zeros(20, "int32") + 2)
    plot_embedding(keras.ops.convert_to_tensor(rng.normal(size=(20, 2))), labels, path=path)
    picture = keras.utils.img_to_array(keras.utils.load_img(path))
    color = [int(COLORS[2][i : i + 2], 16) for i in (1, 3, 5)]
    assert (np.abs(picture - color).max(-1) < 60).sum() > 100


FEATURES = np.zeros((8, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": np.zeros(8)}, "`features` must have shape"),
        ({"features": np.zeros((3, 3))}, "at least 4 rows"),
        ({"features": np.zeros((8, 1))}, "at least 2 dimensions"),
        ({"features": np.full((8, 3), np.nan)}, "`features` must be finite"),
        ({"features": FEATURES, "max_points": 2}, "`max_points`"),
        ({"features": FEATURES, "labels": np.zeros(7, int)}, "`labels` must be"),
        ({"features": FEATURES, "labels": np.zeros(8)}, "`labels` must be"),
        ({"features": FEATURES, "labels": np.full(8, -2)}, "`labels` must be"),
        ({"features": FEATURES, "labels": np.full(8, 2), "class_names": ["a", "b"]}, "class_names"),
        ({"features": FEATURES, "class_names": ["a"]}, "need `labels`"),
        ({"features": np.eye(8), "projection": PCA(3)}, "`projection` must map"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=rf"{message}.*Received"):
        plot_embedding(**arguments)


def test_projection_without_fit_transform():
    with pytest.raises(TypeError, match=r"`projection` must be an object.*Received.*pca"):
        plot_embedding(FEATURES, projection="pca")


@pytest.mark.parametrize("missing", ["some", "all"])
def test_points_without_a_label_are_grey(rng, missing):
    features = rng.normal(size=(40, 2))
    labels = np.where(np.arange(40) < 15, -1, np.arange(40) % 3)[:, None]
    if missing == "all":
        labels = np.full((40, 1), -1)
    figure = plot_embedding(features, labels, ["a", "b", "c"])
    grey, *rest = figure.axes[0].collections
    assert sum(len(one.get_offsets()) for one in rest) == np.sum(labels >= 0)
    expected = features[labels[:, 0] == -1]
    found = np.asarray(grey.get_offsets())
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], expected[np.argsort(expected[:, 0])])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["no label", "a", "b", "c"][: 1 if missing == "all" else 4]


def test_labels_that_are_strings_name_the_classes(rng):
    labels = np.array(["cat", "a dog"])[np.arange(20) % 2]
    figure = plot_embedding(rng.normal(size=(20, 2)), labels)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a dog", "cat"]
