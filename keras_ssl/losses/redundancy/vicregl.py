"""VICRegL: VICReg of whole views, and of positions of their maps that belong together."""

from itertools import accumulate
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._checks import are_compatible, check_dtype
from keras_ssl.losses.redundancy._base import ManyViewsLoss, global_view_list, split_views
from keras_ssl.losses.redundancy._vicreg import covariance_term, variance_term, weights_by_term
from keras_ssl.ops import center
from keras_ssl.ops.precision import at_least_float32


def vicregl_terms(
    views: Any,
    maps: Any,
    places: Any,
    global_count: int = 2,
    matches: tuple[int, int] = (20, 4),
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    epsilon: float = 1e-4,
) -> dict[str, Any]:
    """VICReg of views, of positions matched by features, and of positions matched by place.

    Every global view a is compared with every other view b, global or not. With s, v and c the
    invariance, variance and covariance of `keras_ssl.losses.vicreg_terms`, the term of views is

        global = λ mean of s(z_a, z_b) over pairs + mean over views of (μ v(z) + ν c(z))

    In the maps of a pair, each position of a has its nearest position of b. The `matches[0]`
    positions of a that are nearest to theirs are kept, and `matches[1]` of b likewise, or all if
    there are fewer. The kept positions, ordered by distance, and their partners get VICReg's loss,

        l(x, y) = λ s(x, y) + μ (v(x) + v(y)) / 2 + ν (c(x) + c(y)) / 2

    the statistics being those over the examples of all replicas for each rank; averaged over ranks,
    over both directions, and over pairs. This is done with the Euclidean distance of features for
    the term "features", and with that of places in the image for the term "places".

    Args:
        views: embeddings of the views, a list of `(n, dim)`, floating-point, global views first.
        maps: embeddings of the positions of the views, a list of `(n, positions, local_dim)`.
        places: where the positions lie in the image, a list of `(n, positions, 2)`.
        global_count: how many of the views, the first, are global: an integer of at least 1.
        matches: how many positions are kept of the first and of the second view of a pair.
        invariance_weight: λ, at least 0.
        variance_weight: μ, at least 0.
        covariance_weight: ν, at least 0.
        epsilon: ε, above 0, added to variances.

    Returns:
        Dictionary of the scalars "global", "features" and "places", at least float32, equal on all
        replicas.

    Raises:
        ValueError: if shapes do not fit, there are fewer than two views or than `global_count`, the
            global batch holds a single example, or an argument is out of range.
        TypeError: if an input is not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z, r = np.ones((4, 2), "float32"), np.ones((4, 9, 2), "float32")  # collapsed
    >>> places = np.random.default_rng(0).uniform(size=(4, 9, 2)).astype("float32")
    >>> terms = losses.vicregl_terms([z, z], [r, r], [places, places])
    >>> {name: round(float(value), 4) for name, value in terms.items()}
    {'global': 24.75, 'features': 24.75, 'places': 24.75}

    Reference:
        - [Bardes et al., VICRegL: Self-Supervised Learning of Local Visual
          Features](https://arxiv.org/abs/2210.01571)
    """
    weights = weights_by_term(invariance_weight, variance_weight, covariance_weight)
    checks.positive("epsilon", epsilon)
    _check_settings(global_count, matches)
    views = split_views(views)
    _check_maps(views, maps, places, global_count)
    pairs = [(a, b) for a in range(global_count) for b in range(len(views)) if a != b]
    terms = {"global": _vicreg(global_view_list(views), pairs, weights, epsilon)}
    by_name = (("features", maps, _feature_distances), ("places", places, _place_distances))
    for name, points, distances_of in by_name:
        matched = []
        for a, b in pairs:
            distances = ops.stop_gradient(distances_of(points[a], points[b]))
            matched += _matched(maps[a], maps[b], distances, matches[0])
            matched += _matched(maps[b], maps[a], ops.swapaxes(distances, 1, 2), matches[1])
        matched = _gather(matched)
        compared = zip(matched[::2], matched[1::2], strict=True)
        terms[name] = _mean([_vicreg([x, y], [(0, 1)], weights, epsilon) for x, y in compared])
    return terms


def _vicreg(z: list[Any], pairs: list[tuple], weights: dict[str, float], epsilon: float) -> Any:
    """VICReg's loss of embeddings `(n, ..., dim)`, of which some pairs shall be equal."""
    z = [at_least_float32(one) for one in z]
    centered = [center(one) for one in z]
    terms = {
        "invariance": _mean([ops.mean(ops.square(z[a] - z[b])) for a, b in pairs]),
        "variance": _mean([variance_term(one, epsilon) for one in centered]),
        "covariance": _mean([covariance_term(one) for one in centered]),
    }
    return sum(weights[name] * value for name, value in terms.items())


def _mean(values: list[Any]) -> Any:
    return sum(values) / len(values)


def _feature_distances(x: Any, y: Any) -> Any:
    """Squared distances of all pairs of rows."""
    x, y = at_least_float32(x), at_least_float32(y)
    squares = [ops.sum(ops.square(one), axis=-1) for one in (x, y)]
    products = ops.einsum("bic,bjc->bij", x, y)
    return squares[0][:, :, None] + squares[1][:, None, :] - 2 * products


def _place_distances(x: Any, y: Any) -> Any:
    """Squared distances of all pairs of points, without the rounding errors of a product."""
    x, y = at_least_float32(x), at_least_float32(y)
    return ops.sum(ops.square(x[:, :, None] - y[:, None]), axis=-1)


def _matched(x: Any, y: Any, distances: Any, count: int) -> list[Any]:
    """Return the rows of `x` that are nearest to a row of `y`, nearest first, and these rows."""
    count = min(count, x.shape[1])
    kept = ops.top_k(-ops.min(distances, axis=2), count)[1]
    partners = ops.take_along_axis(ops.argmin(distances, axis=2), kept, axis=1)
    chosen = ((x, kept), (y, partners))
    return [ops.take_along_axis(z, rows[:, :, None], axis=1) for z, rows in chosen]


def _gather(tensors: list[Any]) -> list[Any]:
    """Gather tensors `(n, rows, dim)` from all replicas, at once."""
    if distribute.replica_count() == 1:
        return tensors
    sizes = [one.shape[1] * one.shape[2] for one in tensors]
    flat = [ops.reshape(one, (-1, size)) for one, size in zip(tensors, sizes, strict=True)]
    gathered = distribute.all_gather(ops.concatenate(flat, axis=1))
    parts = ops.split(gathered, list(accumulate(sizes[:-1])), axis=1)
    return [
        ops.reshape(part, (-1, *one.shape[1:])) for part, one in zip(parts, tensors, strict=True)
    ]


def _check_settings(global_count: Any, matches: Any) -> tuple[int, tuple[int, int]]:
    if not isinstance(matches, (tuple, list)) or len(matches) != 2:
        raise ValueError(
            "`matches` must be two integers, of the first and the second view of a pair. "
            f"Received: matches={matches!r}"
        )
    return (
        checks.integer("global_count", global_count, minimum=1),
        tuple(checks.integer("matches", one, minimum=1) for one in matches),
    )


def _check_maps(views: list[Any], maps: Any, places: Any, global_count: int) -> None:
    """Raise unless there is a map, and the places of its positions, for each view."""
    if len(views) < global_count:
        raise ValueError(
            f"Expected at least `global_count` views. Received: {len(views)} views and "
            f"global_count={global_count}"
        )
    for name, given in (("maps", maps), ("places", places)):
        if not isinstance(given, (tuple, list)) or len(given) != len(views):
            count = len(given) if isinstance(given, (tuple, list)) else type(given).__name__
            raise ValueError(
                f"`{name}` must be a list with one tensor for each of the {len(views)} views. "
                f"Received: {count}"
            )
        for number, one in enumerate(given):
            check_dtype(one, f"{name}[{number}]")
    dim = maps[0].shape[-1]
    for number, (view, local, where) in enumerate(zip(views, maps, places, strict=True)):
        shapes = (tuple(local.shape), tuple(where.shape))
        expected = (view.shape[0], None, dim), (view.shape[0], *shapes[0][1:2], 2)
        fits = all(are_compatible(*both) for both in zip(shapes, expected, strict=True))
        if not fits or None in shapes[0][1:]:
            raise ValueError(
                "`maps` must have shapes (batch, positions, dim) and `places` (batch, positions, "
                "2), with the batch of `views`, one `dim`, and known numbers of positions. "
                f"Received: maps[{number}].shape={shapes[0]}, places[{number}].shape={shapes[1]}, "
                f"views[{number}].shape={tuple(view.shape)}"
            )


@keras.saving.register_keras_serializable(package="keras_ssl")
class VICRegLLoss(ManyViewsLoss):
    """VICReg of views and of positions matched by features and by place.

    The loss is α global + (1 - α) (features + places), of the terms of
    `keras_ssl.losses.vicregl_terms`; see there for the formulas, errors and reference, and
    `keras_ssl.losses.BarlowTwinsLoss` for mixed precision and replicas.

    Args:
        global_count: how many of the views, the first, are global: an integer of at least 1.
        matches: how many positions are kept of the first and of the second view of a pair.
        global_weight: α, a float from 0 to 1.
        invariance_weight: float of at least 0.
        variance_weight: float of at least 0.
        covariance_weight: float of at least 0.
        epsilon: float above 0, added to variances.
        **kwargs: `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        views: embeddings of the views, a list of `(batch, dim)`, floating-point, the global views
            first.
        maps: embeddings of the positions of the views, a list of `(batch, positions, local_dim)`.
        places: where the positions lie in the image, a list of `(batch, positions, 2)`.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z, r = np.ones((4, 2), "float32"), np.ones((4, 9, 2), "float32")  # collapsed
    >>> places = np.random.default_rng(0).uniform(size=(4, 9, 2)).astype("float32")
    >>> loss = losses.VICRegLLoss(global_weight=0.75)
    >>> round(float(loss([z, z], [r, r], [places, places])), 4)  # (0.75 + 0.25 + 0.25) * 24.75
    30.9375
    """

    def __init__(
        self,
        global_count: int = 2,
        matches: tuple[int, int] = (20, 4),
        global_weight: float = 0.75,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        epsilon: float = 1e-4,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.global_count, self.matches = _check_settings(global_count, matches)
        self.global_weight = checks.probability("global_weight", global_weight)
        self._weights = weights_by_term(invariance_weight, variance_weight, covariance_weight)
        self.epsilon = checks.positive("epsilon", epsilon)

    def __call__(self, views: Any, maps: Any, places: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of views, their maps and the places of positions."""
        views = split_views(views)
        _check_maps(views, maps, places, self.global_count)  # before the cast hides integers
        return self.compute(views, (list(maps), list(places)), sample_weight)

    def terms(self, views: Any, maps: Any, places: Any) -> dict[str, Any]:
        """Return the three weighted terms, whose sum is the loss.

        For a trainer that reports each as a loss of its own, and divides each by the number of
        replicas as any loss.

        Args:
            views: embeddings of the views, a list of `(batch, dim)`, floating-point.
            maps: embeddings of positions, a list of `(batch, positions, local_dim)`.
            places: places of positions, a list of `(batch, positions, 2)`.

        Returns:
            Dictionary of the tensors "global", "features" and "places" of shape `(1,)`, in the
            loss's dtype, equal on all replicas.

        Raises:
            ValueError: as `keras_ssl.losses.vicregl_terms`.
            TypeError: as `keras_ssl.losses.vicregl_terms`.
        """
        views = split_views(views)
        _check_maps(views, maps, places, self.global_count)  # before the cast hides integers
        inputs = keras.tree.map_structure(
            lambda x: ops.cast(x, self.dtype), (views, list(maps), list(places))
        )
        weights = {f"{name}_weight": weight for name, weight in self._weights.items()}
        settings = {"global_count": self.global_count, "matches": self.matches, **weights}
        terms = vicregl_terms(*inputs, **settings, epsilon=self.epsilon)
        shares = {"global": self.global_weight}
        return {
            name: ops.reshape(shares.get(name, 1 - self.global_weight) * value, (1,))
            for name, value in terms.items()
        }

    def call(self, views: Any, others: tuple) -> Any:
        """Return the loss of the global batch, `(1,)`."""
        return sum(self.terms(views, *others).values())

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        weights = {f"{name}_weight": weight for name, weight in self._weights.items()}
        return {
            **super().get_config(),
            "global_count": self.global_count,
            "matches": self.matches,
            "global_weight": self.global_weight,
            **weights,
            "epsilon": self.epsilon,
        }
