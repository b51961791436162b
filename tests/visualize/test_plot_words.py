import numpy as np
import pytest
from matplotlib.colors import to_hex
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from keras_ssl.visualize import plot_words
from keras_ssl.visualize._figures import COLORS

WORDS = [f"w{number}" for number in range(30)]


def test_words_shown_are_the_nearest_in_the_colors_of_their_queries(rng, tmp_path):
    z = rng.normal(size=(30, 6))
    path = tmp_path / "maps" / "words.png"
    figure = plot_words(z, WORDS, ["w4", "w9"], 5, projection=PCA(2), title="Map", path=path)
    search = NearestNeighbors(n_neighbors=6, metric="cosine").fit(z)
    first, second = search.kneighbors(z[[4, 9]], return_distance=False)
    texts = {text.get_text(): text for text in figure.axes[0].texts}
    assert set(texts) == {WORDS[row] for row in [*first, *second]}
    assert all(to_hex(texts[WORDS[row]].get_color()) == COLORS[0] for row in first if row != 9)
    bold = {word for word, text in texts.items() if text.get_fontweight() == "bold"}
    assert bold == {"w4", "w9"}
    assert path.stat().st_size > 1000 and figure.axes[0].get_title() == "Map"


def test_default_projection_keeps_neighbors_together(rng):
    centers = 5 * np.eye(3)
    z = np.repeat(centers, 10, axis=0) + 0.1 * rng.normal(size=(30, 3))
    figure = plot_words(z, WORDS, ["w0", "w10", "w20"], 9)
    groups = {text.get_text(): np.array(text.xy) for text in figure.axes[0].texts}
    points = np.array([groups[word] for word in WORDS])
    nearest = NearestNeighbors(n_neighbors=6).fit(points).kneighbors(return_distance=False)
    assert np.mean(nearest // 10 == np.arange(30)[:, None] // 10) > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": ["x"]}, r"some of `words`. Received: \['x'\]"),
        ({"queries": []}, "no queries"),
        ({"words": WORDS[1:]}, "29 words"),
        ({"z": np.full((30, 4), np.nan)}, "finite"),
        ({"neighbors": 30}, "smaller than the number of words, 30"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        plot_words(**{"z": np.ones((30, 4)), "words": WORDS, "queries": ["w0"], **arguments})
