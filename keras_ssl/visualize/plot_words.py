"""A map of words with their nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._figures import COLORS, TEXT_COLOR, new_figure, save

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure


def plot_words(
    z: Any,
    words: Sequence[str],
    queries: Sequence[str],
    neighbors: int = 8,
    projection: Any = None,
    seed: int = 0,
    title: str | None = None,
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot some words and those with the nearest vectors as a map, each query in its own colour.

    Neighbours are the words with the largest cosine. The vectors of all of them, with length 1, are
    reduced to two dimensions by t-SNE, which keeps near ones together; long distances on the map
    have no meaning. A word that is near several queries has the colour of the first.

    Args:
        z: vectors `(words, dimensions)`.
        words: the word of each row.
        queries: words whose neighbours are shown, printed in bold.
        neighbors: number of neighbours of each query.
        projection: object with a method `fit_transform` from `(n, dimensions)` to `(n, 2)`, such
            as the estimators of scikit-learn. `None` means t-SNE.
        seed: seed of the default projection.
        title: title of the figure.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if vectors are not a finite matrix, `words` do not name its rows, there are no
            queries, a query is not among the words, or there are too few words.

    Example:

    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from keras_ssl import visualize
    >>> words = [f"word{number}" for number in range(30)]
    >>> z = np.random.default_rng(0).normal(size=(30, 8))
    >>> figure = visualize.plot_words(z, words, ["word3", "word7"], 4, projection=PCA(2))
    >>> figure.axes[0].texts[0].get_text()
    'word3'
    """
    import numpy as np

    units = _units(z, words)
    neighbors = checks.integer("neighbors", neighbors, minimum=1)
    rows = _rows_of(queries, words)
    if neighbors >= len(units):
        raise ValueError(
            f"`neighbors` must be smaller than the number of words, {len(units)}. "
            f"Received: neighbors={neighbors}"
        )
    color = dict(zip(rows, range(len(rows)), strict=True))  # of a row, by its query
    for number, row in enumerate(rows):
        similarities = units @ units[row]
        similarities[row] = -np.inf
        for one in np.argsort(-similarities, kind="stable")[:neighbors]:
            color.setdefault(int(one), number)
    shown = list(color)
    points = _project(units[shown], projection, seed)
    figure = new_figure(8.0, 6.5)
    axes = figure.subplots()
    colors = [COLORS[color[row] % len(COLORS)] for row in shown]
    axes.scatter(*points.T, s=8, c=colors, linewidths=0)
    for row, point, tint in zip(shown, points, colors, strict=True):
        is_query = row in rows
        axes.annotate(
            words[row],
            point,
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=10 if is_query else 8,
            fontweight="bold" if is_query else "normal",
            color=tint,
        )
    axes.set(xticks=[], yticks=[])
    axes.margins(0.08)
    axes.spines[:].set_color("#cccccc")
    if title:
        axes.set_title(title, fontsize=10, color=TEXT_COLOR)
    return save(figure, path)


def _units(z: Any, words: Sequence[str]) -> np.ndarray:
    import keras
    import numpy as np

    z = keras.ops.convert_to_numpy(z).astype("float64")
    if z.ndim != 2 or len(words) != len(z) or not np.isfinite(z).all():
        raise ValueError(
            "`z` must be a finite matrix with a row for each of `words`. "
            f"Received: shape {z.shape}, {len(words)} words"
        )
    lengths = np.linalg.norm(z, axis=1, keepdims=True)
    return z / np.where(lengths > 0, lengths, 1.0)


def _rows_of(queries: Sequence[str], words: Sequence[str]) -> list[int]:
    index = {word: row for row, word in enumerate(words)}
    unknown = [word for word in queries if word not in index]
    if unknown or not len(queries):
        raise ValueError(f"`queries` must be some of `words`. Received: {unknown or 'no queries'}")
    return list(dict.fromkeys(index[word] for word in queries))


def _project(units: np.ndarray, projection: Any, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    if projection is None:
        perplexity = min(15, (len(units) - 1) / 3)
        projection = TSNE(
            metric="cosine", init="random", perplexity=perplexity, random_state=seed, n_jobs=1
        )
    return projection.fit_transform(units.astype("float32"))
