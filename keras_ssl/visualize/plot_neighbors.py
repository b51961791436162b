"""Sheets of images and their nearest neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.visualize._features import nearest_neighbors, unit_features
from keras_ssl.visualize._figures import (
    TEXT_COLOR,
    check_images,
    check_labels,
    check_value_range,
    new_figure,
    save,
    show,
    to_unit,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

SAME_CLASS, OTHER_CLASS = "#3f90da", "#bd1f01"


def plot_neighbors(
    images: Any,
    features: Any,
    queries: int | Sequence[int] = 6,
    neighbors: int = 8,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    value_range: tuple[float, float] = (0, 255),
    title: str | None = None,
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot images, each with those whose features are nearest to its own.

    A row is a query, on the left, and its nearest neighbors among the other images, the nearest
    first, by the cosine similarity of their features, which stands below. With labels, a neighbor
    has a blue frame if it is of the query's class, and a red one otherwise. It is what
    `evaluate.knn_predict` votes with.

    Args:
        images: batch of images of shape `(n, height, width, channels)`, with 1 or 3 channels.
        features: their features, of shape `(n, dimensions)`.
        queries: the indices of the queries, or how many, at equal distances among the images.
        neighbors: number of neighbors per query.
        labels: classes of shape `(n,)`, integers, -1 for no label, or strings; or `None`.
        class_names: names of the classes, in the order of the labels, written beside queries.
        value_range: the values shown as black and as white. Values outside are clipped.
        title: title of the figure.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if images, features, labels or names do not match, features are not finite,
            there are fewer than `neighbors + 1` images, or a query is not one of them.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> rng = np.random.default_rng(0)
    >>> images, features = rng.integers(0, 256, (20, 8, 8, 3)), rng.normal(size=(20, 16))
    >>> figure = visualize.plot_neighbors(images, features, queries=2, neighbors=3)
    >>> len(figure.axes)
    8
    """
    check_value_range(value_range)
    batch = check_images("images", images)
    units = unit_features(features, len(batch))
    neighbors = checks.integer("neighbors", neighbors, minimum=1)
    if neighbors >= len(batch):
        raise ValueError(
            f"`neighbors` must be smaller than the number of images, {len(batch)}. "
            f"Received: neighbors={neighbors}"
        )
    rows = _check_queries(queries, len(batch))
    labels, class_names = check_labels(labels, class_names, len(batch))

    nearest, similarities = nearest_neighbors(units, rows, neighbors)

    figure = new_figure(1.05 * (neighbors + 1) + 0.6, 1.25 * len(rows))
    grid = figure.subplots(len(rows), neighbors + 1, squeeze=False)
    for i, query in enumerate(rows):
        show(grid[i, 0], to_unit(batch[query], value_range))
        columns = zip(grid[i, 1:], nearest[i], similarities[i], strict=True)
        for axes, image, similarity in columns:
            show(axes, to_unit(batch[image], value_range))
            axes.set_xlabel(f"{similarity:.2f}", fontsize=8, color=TEXT_COLOR, labelpad=2)
            if labels is not None and min(labels[image], labels[query]) >= 0:
                axes.spines[:].set_visible(True)
                is_same = labels[image] == labels[query]
                axes.spines[:].set(color=SAME_CLASS if is_same else OTHER_CLASS, linewidth=2)
        name = f"image {query}"
        if labels is not None:
            name = str(labels[query]) if class_names is None else class_names[labels[query]]
            name = name if labels[query] >= 0 else "no label"
        grid[i, 0].set_ylabel(name, fontsize=9, color=TEXT_COLOR)
    if title:
        figure.suptitle(title, fontsize=11, color=TEXT_COLOR)
    return save(figure, path)


def _check_queries(queries: Any, n: int) -> np.ndarray:
    import numpy as np

    if isinstance(queries, int):
        count = checks.integer("queries", queries, minimum=1)
        return np.unique(np.linspace(0, n - 1, min(count, n)).round().astype(int))
    rows = np.asarray(queries)
    if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
        raise ValueError(
            "`queries` must be a number of images or a sequence of their indices. "
            f"Received: queries={queries!r}"
        )
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(
            f"`queries` must be indices of images, 0 to {n - 1}. Received: queries={queries!r}"
        )
    return rows
