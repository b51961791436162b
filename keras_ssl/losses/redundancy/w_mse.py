"""W-MSE: squared distances of whitened views."""

from itertools import combinations
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import are_compatible, check_dtype
from keras_ssl.losses.redundancy._base import ManyViewsLoss, global_view_list, split_views
from keras_ssl.ops import at_least_float32, l2_normalize


def w_mse(views: Any, order: Any = None, sub_batch: int | None = None, epsilon: float = 0.0) -> Any:
    """Mean squared distance of whitened views, scaled to length 1.

    The batch of all replicas is divided into sub-batches. In each, every view is whitened by
    itself: with S the covariance of its d features, unbiased, and L Lᵀ its Cholesky decomposition,

        S' = (1 - ε) S + ε I = L Lᵀ,  w_i = L⁻¹ (z_i - mean)
        l = mean over the pairs of views and the examples of ||w / |w| - w' / |w'|||²

    so that embeddings cannot collapse. `order` says which examples share a sub-batch; a random one
    at each step, or several, makes the loss less dependent on the others of a sub-batch.

    Args:
        views: embeddings of the views, a list of `(n, dim)` or one tensor `(views, n, dim)`,
            floating-point; row i of each belongs to example i.
        order: permutation of the examples of all replicas, the same on each, integers of shape
            `(examples,)`, or `(iterations, examples)` of several whose losses are averaged.
            Consecutive ones make a sub-batch. `None` leaves the examples in their order.
        sub_batch: examples in a sub-batch; the authors take at least twice `dim`. Batches that are
            no multiple of it are divided into fewer, larger ones, of equal size; what is left over
            is left out. `None` means that the batch is not divided.
        epsilon: ε, in [0, 1). Directions without variance are whitened as if they had some, of the
            size of rounding errors.

    Returns:
        A scalar, at least float32, from 0 to 4, equal on all replicas.

    Raises:
        ValueError: if there are fewer than two views, shapes differ, a sub-batch holds no more
            examples than features, or an argument is out of range.
        TypeError: if a view is not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[2, 1], [2, -1], [-2, 1], [-2, -1]], "float32")
    >>> round(float(losses.w_mse([z, 5 * z + 3])), 4)  # scale and shift do not matter
    0.0
    >>> round(float(losses.w_mse([z, -z])), 4)
    4.0

    Reference:
        - [Ermolov et al., Whitening for Self-Supervised Representation
          Learning](https://arxiv.org/abs/2007.06346)
    """
    sub_batch, epsilon = _check_settings(sub_batch, epsilon)
    views = [at_least_float32(view) for view in global_view_list(views)]
    _check_size(views[0], sub_batch)
    count = ops.shape(views[0])[0]
    orders = [ops.arange(count)] if order is None else _orders(order, views[0].shape[0])
    total = 0.0
    for one in orders:
        whitened = [_whiten(ops.take(z, one, axis=0), sub_batch, epsilon) for z in views]
        for first, second in combinations(whitened, 2):
            total = total + ops.mean(ops.sum(first * second, axis=-1))
    pairs = len(views) * (len(views) - 1) // 2
    return 2 - 2 * total / (len(orders) * pairs)


def _whiten(z: Any, sub_batch: int | None, epsilon: float) -> Any:
    """Return the whitened rows of length 1, by sub-batch, `(sub-batches, size, dim)`."""
    rows, dim = ops.shape(z)[0], z.shape[1]
    groups = _sub_batches(rows, sub_batch)
    size = rows // groups
    z = ops.reshape(0.25 * z[: groups * size], (groups, size, dim))
    z = z - ops.stop_gradient(z[:, :1])
    largest = ops.max(ops.abs(z), axis=(1, 2), keepdims=True)
    scale = ops.stop_gradient(ops.maximum(largest, 1e-12))  # neither overflow nor underflow
    z = z / scale
    z = z - ops.mean(z, axis=1, keepdims=True)
    transposed = ops.swapaxes(z, 1, 2)
    degrees = ops.cast(ops.maximum(size - 1, 1), z.dtype)
    covariance = ops.matmul(transposed, z) / degrees
    trace = ops.stop_gradient(ops.sum(ops.square(z), axis=(1, 2), keepdims=True) / degrees)
    # what rounding leaves of directions without variance must not become negative
    rounding = 8 * float(np.finfo(keras.backend.standardize_dtype(z.dtype)).eps)
    added = epsilon * ops.square(0.25 / scale) + rounding * trace + 1e-12
    identity = ops.eye(dim, dtype=z.dtype)
    covariance = (1 - epsilon) * covariance + added * identity
    # of NaN the decomposition would be an error; the rows still make the loss NaN
    covariance = ops.where(ops.isnan(trace), identity, covariance)
    whitened = ops.solve_triangular(ops.cholesky(covariance), transposed, lower=True)
    return l2_normalize(ops.swapaxes(whitened, 1, 2))


def _sub_batches(rows: Any, sub_batch: int | None) -> Any:
    if sub_batch is None:
        return 1
    groups = rows // sub_batch
    return max(groups, 1) if isinstance(rows, int) else ops.maximum(groups, 1)


def _orders(order: Any, examples: int | None) -> list[Any]:
    """Return validated permutations, one after the other."""
    order = check_dtype(order, "order", "integer")
    shape = tuple(order.shape)
    if len(shape) not in (1, 2) or not are_compatible(shape[-1:], (examples,)):
        raise ValueError(
            "`order` must hold the index of each example of all replicas once, (examples,) or "
            f"(iterations, examples). Received: order.shape={shape} and {examples} examples"
        )
    return [order] if len(shape) == 1 else ops.unstack(order, axis=0)


def _check_size(view: Any, sub_batch: int | None) -> None:
    rows, dim = view.shape
    if dim is None:
        raise ValueError(
            f"The number of features must be known. Received: views[0].shape={(rows, dim)}"
        )
    size = None if rows is None else rows // _sub_batches(rows, sub_batch)
    if size is not None and size <= dim:
        raise ValueError(
            "W-MSE needs more examples in a sub-batch than features, better twice as many, or "
            "their covariance has no inverse. Use larger batches or a narrower projector. "
            f"Received: sub-batches of {size} examples with {dim} features"
        )


def _check_settings(sub_batch: Any, epsilon: Any) -> tuple[int | None, float]:
    return (
        checks.integer("sub_batch", sub_batch, minimum=2, optional=True),
        checks.below_one("epsilon", epsilon),
    )


@keras.saving.register_keras_serializable(package="keras_ssl")
class WMSELoss(ManyViewsLoss):
    """Mean squared distance of whitened views, the loss of W-MSE.

    See `keras_ssl.losses.w_mse` for the formula, errors and reference, and
    `keras_ssl.losses.BarlowTwinsLoss` for mixed precision and replicas: the sub-batches are those
    of the global batch.

    Args:
        sub_batch: examples that are whitened together, an integer, or `None` for all of a batch.
        epsilon: ε, a float in [0, 1), the share of the identity in the covariance.
        **kwargs: `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        views: embeddings of two or more views, a list of `(batch, dim)` or one tensor
            `(views, batch, dim)`, floating-point; row i of each belongs to example i.
        order: which examples are whitened together: permutations of the examples of all replicas,
            `(examples,)` or `(iterations, examples)`; `None` for neighbours.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[2, 1], [2, -1], [-2, 1], [-2, -1]], "float32")
    >>> round(float(losses.WMSELoss()([z, -z])), 4)
    4.0
    """

    def __init__(self, sub_batch: int | None = None, epsilon: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.sub_batch, self.epsilon = _check_settings(sub_batch, epsilon)

    def __call__(self, views: Any, sample_weight: Any = None, order: Any = None) -> Any:
        """Compute the loss of views."""
        views = split_views(views)
        if order is not None:
            _orders(order, None)
        return self.compute(views, () if order is None else (order,), sample_weight)

    def call(self, views: Any, order: tuple) -> Any:
        """Return the loss of the global batch, `(1,)`."""
        # Keras has cast the indices, which float32 holds exactly
        order = ops.cast(order[0], "int32") if order else None
        return ops.reshape(w_mse(views, order, self.sub_batch, self.epsilon), (1,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"sub_batch": self.sub_batch, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
