"""Which features of two spaces belong together, by optimal transport."""

from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._forward import check_features
from keras_ssl.evaluate._units import check_widths
from keras_ssl.evaluate.downstream.matching._spaces import check_as_fitted

# the distances of a point are compared by this many of their quantiles at most
_QUANTILES = 100


class OptimalTransportMatching:
    r"""Matching of two sets of features by optimal transport, with or without known pairs.

    A plan P is a table of how much of feature i of the first space goes to feature j of the second,
    whose rows and columns have equal sums. `fit` finds the plan of the least cost, by
    [POT](https://pythonot.github.io). What a plan costs depends on what is known:

    - **Nothing**: the spaces may have any widths, and only distances within each are compared
      (Gromov-Wasserstein). With D and E the Euclidean distances within the spaces, each divided by
      their mean,

      $$\sum_{ijkl} (D_{ik} - E_{jl})^2 P_{ij} P_{kl}$$

      There are many local minima. The search starts from the plan that matches the distribution of
      distances from each feature, and from none, and the better of both ends is kept. Where a space
      has symmetries, such as a cloud that looks the same from both sides, nothing tells which of
      several plans is meant.
    - **Some pairs**: features are alike if their distances from the paired ones are, and
      $C_{ij} = \operatorname{mean}_{(a, b)} (D_{ia} - E_{jb})^2$ gives the cost
      $\sum_{ij} C_{ij} P_{ij}$. If the spaces are equal up to a rotation, one pair more than
      dimensions is enough.
    - **The space is the same**, `same_space=True`: the mean squared distance that features move
      (Wasserstein), in units of the mean over all pairs of features.

    A plan has a number for each two features, so it is meant for some thousands.

    Args:
        regularization: 0 for an exact plan, which for as many features in both spaces is a
            permutation, or the weight of its entropy, such as 0.01, which makes plans soft
            (Sinkhorn's algorithm). Costs are in the units above, of the order of 1 for features
            that do not match.
        same_space: whether distances of features of one space from those of the other mean
            something, for instance after `keras_ssl.evaluate.ProcrustesAlignment`.
        iterations: largest number of iterations of Sinkhorn's algorithm and of Gromov-Wasserstein.
            If they do not suffice, POT warns.

    Attributes:
        plan: P, an array `(first examples, second examples)` whose sum is 1, after `fit`.
        matches: for each feature of the first space, the row of the second that most of it goes to,
            integers `(first examples,)`.
        cost: cost of the plan, without its entropy.

    Raises:
        ImportError: if POT is not installed; `pip install 'keras-ssl[ot]'`.
        TypeError: if an argument has the wrong type, or `pairs` are no integers.
        ValueError: if an argument is out of range; from `fit`, if features are not finite, there
            are fewer than 2, all are equal, `pairs` are fewer than 2 or no rows, widths differ
            with `same_space=True`, or `regularization` is too small for floats; from `transform`,
            before `fit` or if features have another width.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> first = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> second = np.array([[0.0, 14.0], [0.0, 0.0], [0.0, 6.0], [0.0, 2.0]])
    >>> matching = evaluate.OptimalTransportMatching().fit(first, second)
    >>> matching.matches
    array([1, 3, 2, 0])
    >>> matching.transform([[6.0]])
    array([[ 0., 14.]])

    Reference:
        - [Peyré et al., Gromov-Wasserstein Averaging of Kernel and Distance Matrices](
          https://proceedings.mlr.press/v48/peyre16.html)
        - [Cuturi, Sinkhorn Distances](https://arxiv.org/abs/1306.0895)
        - [Alvarez-Melis and Jaakkola, Gromov-Wasserstein Alignment of Word Embedding Spaces](
          https://arxiv.org/abs/1809.00013)
    """

    def __init__(
        self, regularization: float = 0.0, same_space: bool = False, iterations: int = 1000
    ):
        self.regularization = checks.number("regularization", regularization, minimum=0)
        self.same_space = bool(same_space)
        self.iterations = checks.integer("iterations", iterations, minimum=1)
        self.plan: np.ndarray | None = None
        self.matches: np.ndarray | None = None
        self.cost: float | None = None
        _import_ot()

    def fit(self, first: Any, second: Any, pairs: Any = None) -> "OptimalTransportMatching":
        """Find the plan.

        Args:
            first: features `(first examples, first dimensions)`.
            second: features `(second examples, second dimensions)`, in any order.
            pairs: rows of `first` and `second` that are known to belong together, integers
                `(pairs, 2)`, at least 2. `None` if none are.

        Returns:
            This object.
        """
        first = _check_set(first, "first")
        second = _check_set(second, "second")
        if self.same_space:
            check_widths(first, second, ("first", "second"))
            if pairs is not None:
                raise ValueError(
                    "`pairs` tell how two spaces belong together, and with `same_space=True` they "
                    "are one. Received: both"
                )
            costs = _squared_distances(first, second)
            self.plan, self.cost = self._transport(costs / costs.mean())
        elif pairs is not None:
            rows, others = _check_pairs(pairs, len(first), len(second)).T
            d, e = _distances(first), _distances(second)
            costs = _squared_distances(d[:, rows], e[:, others]) / len(rows)
            self.plan, self.cost = self._transport(costs)
        else:
            self.plan, self.cost = self._match_distances(_distances(first), _distances(second))
        self.matches = self.plan.argmax(axis=1)
        self._first, self._images = first, self.plan @ second / self.plan.sum(axis=1)[:, None]
        return self

    def transform(self, first: Any, neighbors: int = 1) -> np.ndarray:
        """Map features of the first space into the second.

        A feature goes where the nearest features in `fit` go: to the mean of the features of the
        second space, weighted by the plan.

        Args:
            first: features `(examples, first dimensions)`, those in `fit` or others.
            neighbors: number of nearest features whose images are averaged.

        Returns:
            float64 array `(examples, second dimensions)`.
        """
        from sklearn.neighbors import NearestNeighbors

        width = None if self.plan is None else self._first.shape[1]
        first = check_as_fitted(first, width, "first")
        neighbors = checks.integer("neighbors", neighbors, minimum=1)
        if neighbors > len(self._first):
            raise ValueError(
                f"`neighbors` must be at most the number of features in `fit`, {len(self._first)}. "
                f"Received: neighbors={neighbors}"
            )
        index = NearestNeighbors(n_neighbors=neighbors).fit(self._first)
        return self._images[index.kneighbors(first)[1]].mean(axis=1)

    def _transport(self, costs: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the plan for costs of features, and what it costs."""
        if self.regularization == 0:
            plan = _exact_plan(costs)
        else:
            plan = _import_ot().sinkhorn(
                *_equal_weights(*costs.shape),
                costs,
                self.regularization,
                method="sinkhorn_log",
                numItermax=self.iterations,
            )
        return plan, float(np.sum(plan * costs))

    def _match_distances(self, d: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the plan that keeps distances best, and what it costs."""
        gromov = _import_ot().gromov
        weights = _equal_weights(len(d), len(e))
        grid = np.linspace(0, 1, min(_QUANTILES, max(len(d), len(e))))
        profiles = [np.quantile(one, grid, axis=1).T for one in (d, e)]
        starts = [_exact_plan(_squared_distances(*profiles)), np.outer(*weights)]
        ends = []
        for start in starts:
            if self.regularization == 0:
                plan = gromov.gromov_wasserstein(
                    d, e, *weights, G0=start, max_iter=self.iterations, symmetric=True
                )
            else:
                plan = gromov.entropic_gromov_wasserstein(
                    d,
                    e,
                    *weights,
                    epsilon=self.regularization,
                    G0=start,
                    max_iter=self.iterations,
                    numItermax=self.iterations,
                    symmetric=True,
                )
            if not np.isfinite(plan).all() or not plan.any(axis=1).all():
                raise ValueError(
                    "`regularization` is so small that the soft plan underflows: pass a larger one "
                    f"or 0. Received: regularization={self.regularization}"
                )
            one, other = plan.sum(axis=1), plan.sum(axis=0)
            cost = one @ d**2 @ one + other @ e**2 @ other - 2 * np.sum(d @ plan @ e * plan)
            ends.append((plan, float(max(cost, 0.0))))
        return min(ends, key=lambda end: end[1])


def _import_ot() -> Any:
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            "Optimal transport needs POT: pip install 'keras-ssl[ot]'. Received: no module `ot`"
        ) from error
    return ot


def _exact_plan(costs: np.ndarray) -> np.ndarray:
    # the network simplex ends at the optimum, within many more steps than POT allows by default
    return _import_ot().emd(*_equal_weights(*costs.shape), costs, numItermax=10**7)


def _equal_weights(*counts: int) -> list[np.ndarray]:
    return [np.full(count, 1.0 / count) for count in counts]


def _check_set(features: Any, name: str) -> np.ndarray:
    features = check_features(features, name, dtype="float64")
    if len(features) < 2 or not np.ptp(features, axis=0).any():
        raise ValueError(
            f"`{name}` must hold at least 2 features that are not all equal. "
            f"Received: {len(features)} rows"
        )
    return features


def _check_pairs(pairs: Any, first: int, second: int) -> np.ndarray:
    pairs = np.asarray(pairs)
    if pairs.dtype.kind not in "iu":
        raise TypeError(
            "`pairs` must be integers, rows of `first` and `second`. "
            f"Received: dtype {pairs.dtype} and shape {pairs.shape}"
        )
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) < 2:
        raise ValueError(
            "`pairs` must have shape (pairs, 2) and hold at least 2 pairs. "
            f"Received: shape {pairs.shape}"
        )
    if (pairs < 0).any() or (pairs >= (first, second)).any():
        raise ValueError(
            f"`pairs` must hold rows of `first`, 0 to {first - 1}, and of `second`, 0 to "
            f"{second - 1}. Received: {pairs.min(axis=0).tolist()} to {pairs.max(axis=0).tolist()}"
        )
    return pairs


def _distances(features: np.ndarray) -> np.ndarray:
    """Return Euclidean distances among features, divided by their mean."""
    from scipy.spatial.distance import pdist, squareform

    distances = squareform(pdist(features))
    return distances / distances.mean()


def _squared_distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(one, other, "sqeuclidean")
