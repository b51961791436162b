"""Plots of representations in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl.visualize._features import check_features, check_projection, project
from keras_ssl.visualize._figures import COLORS, TEXT_COLOR, check_labels, new_figure, save

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

# classes after the first ten use the next marker
_MARKERS = "o^sDv*"
_MAX_LEGEND_ENTRIES = 40
UNLABELLED = -1
_UNLABELLED_COLOR = "#bbbbbb"


def plot_embedding(
    features: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    projection: Any = None,
    max_points: int = 2000,
    seed: int = 0,
    title: str | None = None,
    path: str | PathLike[str] | None = None,
) -> Figure:
    """Plot representations as points in two dimensions, coloured by class.

    By default the features are reduced to at most 50 dimensions by PCA and then to two by t-SNE,
    which keeps neighbours together. The axes and long distances have no meaning. Two-dimensional
    features are plotted unchanged.

    Args:
        features: array of shape `(n, dimensions)`.
        labels: integer classes of shape `(n,)` or `(n, 1)`, -1 for points without a label, which
            are grey; or strings; or `None` for one colour.
        class_names: names of the classes for the legend, in the order of the labels.
        projection: object with a method `fit_transform` from `(n, dimensions)` to `(n, 2)`, such
            as the estimators of scikit-learn or UMAP, used whatever the number of dimensions.
            `None` means the default above.
        max_points: maximum number of points. If there are more, a random subset is plotted.
        seed: seed of the subset, of the drawing order and of the default projection.
        title: title of the figure.
        path: file to save the figure to (PNG unless the suffix says otherwise), or `None`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: if `features` is not a finite matrix, `labels` or `class_names` do not match
            it, there are fewer than four points, or `projection` returns another shape.
        TypeError: if `projection` has no `fit_transform`.

    Example:

    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from keras_ssl import visualize
    >>> features = np.random.default_rng(0).normal(size=(100, 16))
    >>> labels = np.arange(100) % 2
    >>> figure = visualize.plot_embedding(features, labels, ["cat", "dog"], projection=PCA(2))
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['cat', 'dog']

    Reference:
        - [van der Maaten and Hinton, 2008](https://www.jmlr.org/papers/v9/vandermaaten08a.html)
          (t-SNE)
    """
    import keras
    import numpy as np

    features = keras.ops.convert_to_numpy(features)
    check_projection(projection)
    check_features(features, max_points)
    labels, class_names = check_labels(labels, class_names, len(features))

    # shuffle in any case: sorted by class, the last class would cover the others
    rows = np.random.default_rng(seed).permutation(len(features))[:max_points]
    points = project(features[rows].astype("float32"), projection, seed)

    figure = new_figure(7.2 if labels is not None else 5.6, 5.2)
    axes = figure.subplots()
    size = float(np.clip(12_000 / len(points), 6, 40))
    if labels is None:
        axes.scatter(*points.T, s=size, color=COLORS[0], linewidths=0, alpha=0.8)
    else:
        _scatter_classes(figure, points, labels[rows], class_names, size)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.set_adjustable("datalim")
    axes.spines[:].set_color("#cccccc")
    name = type(projection).__name__ if projection is not None else "t-SNE"
    if projection is None and features.shape[1] == 2:
        name = "feature"
    axes.set_xlabel(f"{name} 1", color=TEXT_COLOR, fontsize=9)
    axes.set_ylabel(f"{name} 2", color=TEXT_COLOR, fontsize=9)
    shown = f"{len(points):,} of {len(features):,} points"
    axes.set_title(f"{title}\n{shown}" if title else shown, fontsize=10, color=TEXT_COLOR)
    return save(figure, path)


def _scatter_classes(
    figure: Figure,
    points: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str] | None,
    size: float,
) -> None:
    """Draw the points in the given order, and a legend."""
    import numpy as np

    axes = figure.axes[0]
    unlabelled = labels == UNLABELLED
    if unlabelled.any():
        style = {"marker": "o", "linewidths": 0, "alpha": 0.5, "label": "no label"}
        axes.scatter(*points[unlabelled].T, s=size, color=_UNLABELLED_COLOR, **style)
        points, labels = points[~unlabelled], labels[~unlabelled]
    marker_index = labels // len(COLORS) % len(_MARKERS)
    for i in np.unique(marker_index):
        chosen = marker_index == i
        colors = [COLORS[label % len(COLORS)] for label in labels[chosen]]
        style = {"marker": _MARKERS[i], "linewidths": 0, "alpha": 0.8}
        axes.scatter(*points[chosen].T, s=size, c=colors, **style)
    classes = np.unique(labels)
    if len(classes) > _MAX_LEGEND_ENTRIES:
        return
    for label in classes:
        style = {"color": COLORS[label % len(COLORS)], "linestyle": "none", "markeredgewidth": 0}
        marker = _MARKERS[label // len(COLORS) % len(_MARKERS)]
        name = str(label) if class_names is None else class_names[label]
        axes.plot([], [], marker=marker, markersize=8, label=name, **style)
    figure.legend(
        loc="outside right center",
        frameon=False,
        fontsize=9,
        labelcolor=TEXT_COLOR,
        ncols=max(1, -(-len(classes) // 20)),
    )
