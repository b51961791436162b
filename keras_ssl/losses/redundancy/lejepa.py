"""LeJEPA: invariance of views, and embeddings with the distribution of an isotropic Gaussian."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import are_compatible, check_matrix
from keras_ssl.losses.redundancy._base import ManyViewsLoss, global_view_list, split_views
from keras_ssl.ops import at_least_float32, l2_normalize


def sig_reg(views: Any, directions: Any, knots: int = 17, t_max: float = 3.0) -> Any:
    """Sketched isotropic Gaussian regularisation: how far embeddings are from a standard normal.

    Embeddings are isotropic Gaussian if their projections on all directions are standard normal
    numbers. For each view v and direction a the test of Epps and Pulley compares the empirical
    characteristic function of the projections a·z_i of the N examples over all replicas with that
    of the normal distribution:

        T(v, a) = N ∫ |1/N Σ_i exp(i t a·z_i) - exp(-t²/2)|² exp(-t²/2) dt

    over t from `-t_max` to `t_max`, by the trapezoidal rule. The value is the mean of T over views
    and directions. Draw other directions at each step.

    Args:
        views: embeddings of the views, a list of `(n, dim)` or one tensor `(views, n, dim)`,
            floating-point.
        directions: the directions as columns, `(dim, count)`, floating-point, of any length above
            0: random normal numbers, the same on all replicas.
        knots: points at which the integrand is evaluated from 0 to `t_max`, at least 2.
        t_max: float above 0.

    Returns:
        A scalar of at least 0, at least float32, equal on all replicas.

    Raises:
        ValueError: if there are fewer than two views, shapes differ, the global batch holds a
            single example, or an argument is out of range.
        TypeError: if an input is not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.random.default_rng(0).normal(size=(2, 1000, 2)).astype("float32")
    >>> bool(losses.sig_reg(z, np.eye(2, dtype="float32")) < 1)
    True
    >>> bool(losses.sig_reg(0 * z, np.eye(2, dtype="float32")) > 100)  # collapsed
    True

    Reference:
        - [Balestriero & LeCun, LeJEPA: Provable and Scalable Self-Supervised Learning Without the
          Heuristics](https://arxiv.org/abs/2511.08544)
    """
    checks.integer("knots", knots, minimum=2)
    checks.positive("t_max", t_max)
    views = split_views(views)
    _check_directions(directions, views[0])
    return _epps_pulley(_stacked(views), directions, knots, t_max)


def _stacked(views: list[Any]) -> Any:
    """Views of all replicas, `(views, n, dim)`."""
    return ops.stack([at_least_float32(view) for view in global_view_list(views)])


def _epps_pulley(z: Any, directions: Any, knots: int, t_max: float) -> Any:
    a = l2_normalize(ops.transpose(ops.cast(directions, z.dtype)))  # (count, dim)
    projections = ops.matmul(z, ops.transpose(a))  # (views, n, count)
    step = t_max / (knots - 1)
    total = 0.0
    # nothing differs at 0; a knot at a time, since all of them are many times the projections
    for knot in range(1, knots):
        t = knot * step
        expected = math.exp(-(t**2) / 2)
        real = ops.mean(ops.cos(t * projections), axis=1) - expected
        imaginary = ops.mean(ops.sin(t * projections), axis=1)
        # twice, for -t; half of it at the end of the trapezoidal rule
        weight = (1 if knot == knots - 1 else 2) * step * expected
        total = total + weight * (ops.square(real) + ops.square(imaginary))
    return ops.mean(total) * ops.cast(ops.shape(z)[1], z.dtype)


def lejepa(
    views: Any,
    directions: Any,
    global_count: int = 2,
    regularization_weight: float = 0.05,
    knots: int = 17,
    t_max: float = 3.0,
) -> Any:
    """Distance of views from the mean of the global ones, and from an isotropic Gaussian.

    With V views z_v of N examples over all replicas, d features, c the mean of the first
    `global_count` views, and λ `regularization_weight`:

        l = (1 - λ) 1/(V N d) Σ_v Σ_i ||z_v,i - c_i||² + λ sig_reg(views)

    with the regulariser `keras_ssl.losses.sig_reg`. Gradients flow to c too.

    Args:
        views: embeddings of the views, a list of `(n, dim)` or one tensor `(views, n, dim)`,
            floating-point, the global views first; row i of each belongs to example i.
        directions: random directions as columns, `(dim, count)`, floating-point.
        global_count: how many of the views are global, at least 1.
        regularization_weight: λ, from 0 to 1.
        knots: points of the integral, at least 2.
        t_max: end of the integral, above 0.

    Returns:
        A scalar, at least float32, equal on all replicas.

    Raises:
        ValueError: as `keras_ssl.losses.sig_reg`, or if there are fewer views than `global_count`.
        TypeError: as `keras_ssl.losses.sig_reg`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[1, 0], [0, -1]], "float32")
    >>> directions = np.eye(2, dtype="float32")
    >>> float(losses.lejepa([z, z, z], directions, regularization_weight=0.0))
    0.0
    >>> float(losses.lejepa([z, z, z + 3], directions, regularization_weight=0.0))
    3.0

    Reference:
        - [Balestriero & LeCun, LeJEPA: Provable and Scalable Self-Supervised Learning Without the
          Heuristics](https://arxiv.org/abs/2511.08544)
    """
    weight, global_count, knots, t_max = _check_settings(
        regularization_weight, global_count, knots, t_max
    )
    views = split_views(views)
    _check_count(views, global_count)
    _check_directions(directions, views[0])
    z = _stacked(views)
    center = ops.mean(z[:global_count], axis=0)
    invariance = ops.mean(ops.square(z - center))
    if weight == 0:
        return invariance
    return (1 - weight) * invariance + weight * _epps_pulley(z, directions, knots, t_max)


def _check_settings(
    regularization_weight: Any, global_count: Any, knots: Any, t_max: Any
) -> tuple[float, int, int, float]:
    return (
        checks.probability("regularization_weight", regularization_weight),
        checks.integer("global_count", global_count, minimum=1),
        checks.integer("knots", knots, minimum=2),
        checks.positive("t_max", t_max),
    )


def _check_count(views: list[Any], global_count: int) -> None:
    if len(views) < global_count:
        raise ValueError(
            f"Expected at least `global_count` views. Received: {len(views)} views and "
            f"global_count={global_count}"
        )


def _check_directions(directions: Any, view: Any) -> None:
    directions = check_matrix(directions, "directions", "(dim, count)")
    if not are_compatible(tuple(directions.shape[:1]), tuple(view.shape[1:])):
        raise ValueError(
            "`directions` must be columns as long as the embeddings, (dim, count). Received: "
            f"directions.shape={tuple(directions.shape)} and views[0].shape={tuple(view.shape)}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class LeJEPALoss(ManyViewsLoss):
    """Distance of views from the mean of the global ones, and from an isotropic Gaussian.

    See `keras_ssl.losses.lejepa` and `keras_ssl.losses.sig_reg` for the formulas, errors and
    reference, and `keras_ssl.losses.BarlowTwinsLoss` for mixed precision and replicas.

    Args:
        global_count: how many of the views, the first, are global: an integer of at least 1.
        regularization_weight: λ, a float from 0 to 1. The authors try 0.01 to 0.1.
        knots: points of the integral of the test, an integer of at least 2.
        t_max: end of the integral, a float above 0.
        **kwargs: `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        views: embeddings of the views, a list of `(batch, dim)` or one tensor
            `(views, batch, dim)`, floating-point, the global views first.
        directions: random directions as columns, `(dim, count)`, the same on all replicas.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[1, 0], [0, -1]], "float32")
    >>> directions = np.eye(2, dtype="float32")
    >>> loss = losses.LeJEPALoss(regularization_weight=0.0)
    >>> float(loss([z, z, z + 3], directions))
    3.0
    """

    def __init__(
        self,
        global_count: int = 2,
        regularization_weight: float = 0.05,
        knots: int = 17,
        t_max: float = 3.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.regularization_weight, self.global_count, self.knots, self.t_max = _check_settings(
            regularization_weight, global_count, knots, t_max
        )

    def __call__(self, views: Any, directions: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of views, tested along directions."""
        views = split_views(views)
        _check_count(views, self.global_count)
        _check_directions(directions, views[0])  # before the cast, which would hide integers
        return self.compute(views, (directions,), sample_weight)

    def call(self, views: Any, directions: tuple) -> Any:
        """Return the loss of the global batch, `(1,)`."""
        settings = (self.global_count, self.regularization_weight, self.knots, self.t_max)
        return ops.reshape(lejepa(views, directions[0], *settings), (1,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "global_count": self.global_count,
            "regularization_weight": self.regularization_weight,
            "knots": self.knots,
            "t_max": self.t_max,
        }
