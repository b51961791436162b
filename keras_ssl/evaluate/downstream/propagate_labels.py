"""Labels of a few examples spread over their neighbours."""

import functools
import warnings
from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._forward import check_features
from keras_ssl.evaluate._labels import integer_labels
from keras_ssl.evaluate._units import check_widths


def propagate_labels(
    features: Any, labels: Any, others: Any = None, k: int = 10, estimator: Any = None
) -> np.ndarray:
    r"""Predict classes by spreading the labels of a few examples over their neighbours.

    A graph connects neighbouring examples, with and without labels. With its normalized weights
    $S = D^{-1/2} W D^{-1/2}$ and the labels as rows of zeros and a one, $Y$, 0 where there are
    none, label spreading gives each example the class with the largest entry of

    $$F = (1 - \alpha) (I - \alpha S)^{-1} Y$$

    so that labels follow dense regions of the features. scikit-learn iterates to it.

    Args:
        features: features of all examples that may help, `(examples, dimensions)`.
        labels: integers `(examples,)`; -1 means no label.
        others: features whose classes are predicted by their neighbours among `features`. `None`
            predicts those of `features`.
        k: number of neighbours of largest cosine. Two examples are connected if one of them is a
            neighbour of the other; scikit-learn's own graph has one direction only, along which
            the label of an example that is nobody's neighbour does not spread.
        estimator: `sklearn.semi_supervised.LabelSpreading` or `LabelPropagation`, or a pipeline of
            scikit-learn that ends in one, in place of `k`; a copy is fitted. `None` means
            `LabelSpreading` on that graph with $\alpha$ = 0.99. A Gaussian kernel
            (`kernel="rbf"`) takes memory for a number for each pair of examples.

    Returns:
        Integers `(examples,)`: a class for each row of `others`, or of `features`. Examples that no
        label reaches get the smallest class, and a warning counts them.

    Raises:
        TypeError: if labels are no integers, or `estimator` is none of these.
        ValueError: if features are not finite or of two widths, there is not one label for each of
            them, or labels of fewer than two classes, or `k` is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> from sklearn.semi_supervised import LabelSpreading
    >>> features = np.array([[0.0], [1.0], [2.0], [7.0], [8.0], [9.0]])
    >>> labels = np.array([0, -1, -1, -1, -1, 1])
    >>> evaluate.propagate_labels(features, labels, estimator=LabelSpreading(gamma=1.0))
    array([0, 0, 0, 1, 1, 1])

    Reference:
        - [Zhou et al., Learning with Local and Global Consistency](
          https://papers.nips.cc/paper/2506-learning-with-local-and-global-consistency): spreading
        - [Zhu & Ghahramani, 2002](http://pages.cs.wisc.edu/~jerryzhu/pub/CMU-CALD-02-107.pdf):
          propagation
    """
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    k = checks.integer("k", k, minimum=1)
    estimator = _spreading(k) if estimator is None else estimator
    check_spreading(estimator)
    features = check_features(features, "features").astype("float64")
    labels = integer_labels(labels, "labels")
    if len(labels) != len(features):
        raise ValueError(
            "`labels` must have one label per row of `features`, -1 for none. "
            f"Received: {len(labels)} labels and {len(features)} rows"
        )
    classes = np.setdiff1d(labels, [-1])
    if len(classes) < 2:
        raise ValueError(
            "`labels` must hold examples of at least two classes; -1 means no label. "
            f"Received: the classes {classes.tolist()}"
        )
    if others is not None:
        others = check_features(others, "others").astype("float64")
        check_widths(features, others, ("features", "others"))
    # one thread, as in the linear probe: on busy cores threads wait for each other
    with threadpool_limits(1):
        fitted = clone(estimator).fit(features, labels)
        if others is None:
            weights = _last(fitted).label_distributions_
        else:
            # of what no label reaches, scikit-learn divides 0 by 0
            with np.errstate(invalid="ignore"):
                weights = fitted.predict_proba(others)
    weights = np.nan_to_num(weights)
    unreached = int(np.count_nonzero(~weights.any(axis=1)))
    if unreached:
        warnings.warn(
            f"No label reaches {unreached} of {len(weights)} examples, which get class "
            f"{classes[0]}: the graph has parts without labels. Take a larger `k`, or a "
            "Gaussian kernel.",
            stacklevel=2,
        )
    return classes[np.argmax(weights, axis=1)]


def check_spreading(estimator: Any) -> None:
    """Raise a `TypeError` unless an estimator is or ends in one that spreads labels."""
    from sklearn.semi_supervised import LabelPropagation, LabelSpreading

    if not isinstance(_last(estimator), (LabelSpreading, LabelPropagation)):
        raise TypeError(
            "`estimator` must be a LabelSpreading or LabelPropagation of "
            "sklearn.semi_supervised, or a pipeline that ends in one. "
            f"Received: {estimator!r}"
        )


def _last(estimator: Any) -> Any:
    from sklearn.pipeline import Pipeline

    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def _spreading(k: int) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.semi_supervised import LabelSpreading

    # of features of length 1, the nearest are those of the largest cosine
    graph = functools.partial(_neighbour_graph, k=k)
    return make_pipeline(Normalizer(), LabelSpreading(graph, alpha=0.99, max_iter=2000))


def _neighbour_graph(features: np.ndarray, others: np.ndarray, k: int) -> Any:
    """Connect features with each other, or with others, `(features, others)`, sparse."""
    from sklearn.neighbors import NearestNeighbors

    among_each_other = others is features
    k = min(k, len(features) - among_each_other)
    nearest = NearestNeighbors(n_neighbors=k).fit(features)
    graph = nearest.kneighbors_graph(None if among_each_other else others).T
    return graph.maximum(graph.T).tocsr() if among_each_other else graph.tocsr()
