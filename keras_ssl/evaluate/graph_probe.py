"""A support vector machine on representations of graphs, by cross-validation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_ssl.evaluate.features import check_features


def graph_probe(
    features: Any,
    y: Any,
    folds: int = 10,
    regularizations: Sequence[float] = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3),
    inner_folds: int = 5,
    seed: int = 0,
) -> float:
    """The accuracy of a support vector machine on features of graphs, by cross-validation.

    The customary figure of sets of some hundred graphs. In each of `folds` stratified folds, a
    machine with a radial kernel is fitted on the others, on features standardised by their mean
    and variance; its C is chosen among `regularizations` by cross-validation within these
    others. Nothing is chosen on what the figure is measured on.

    Args:
        features: a vector a graph, `(graphs, features)`.
        y: labels of the graphs, integers `(graphs,)`.
        folds: parts that the graphs are cut into.
        regularizations: values of C to try.
        inner_folds: parts for the choice of C.
        seed: of the cut.

    Returns:
        The mean over folds of the share of graphs classified right, from 0 to 1.

    Raises:
        ValueError: if features are not finite, labels are no integers, one a graph, or of less than
            two classes, or a class has fewer graphs than there are folds.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> y = np.arange(40) % 2
    >>> evaluate.graph_probe(np.stack([y, 1 - y], axis=1), y)
    1.0

    Reference:
        - [Sun et al., InfoGraph](https://arxiv.org/abs/1908.01000), section 4.1
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    features, y = check_features(features, "features"), np.asarray(y)
    if y.shape != (len(features),) or y.dtype.kind not in "iu":
        raise ValueError(
            f"`y` must hold an integer label for each of {len(features)} graphs. Received: "
            f"{y.dtype} of shape {y.shape}"
        )
    fewest = np.unique(y, return_counts=True)[1]
    if len(fewest) < 2 or fewest.min() < folds:
        raise ValueError(
            f"`y` must hold at least two classes, each of at least `folds`={folds} graphs. "
            f"Received: classes of {fewest.tolist()} graphs"
        )
    machine = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(machine, {"svc__C": list(regularizations)}, cv=inner_folds)
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return float(cross_val_score(search, features, y, cv=cut).mean())
