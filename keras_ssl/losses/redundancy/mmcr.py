"""MMCR: maximum manifold capacity representations."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses.redundancy._base import ManyViewsLoss, split_views
from keras_ssl.ops import l2_normalize


def mmcr(views: Any, local_weight: float = 0.005) -> Any:
    """Extent of all examples' centroids, and of the views of each example.

    With V views of N examples over all replicas, each embedding scaled to length 1, c_i the mean
    of the views of example i, C the matrix of all c_i, Z_i that of the views of example i,
    ||.||_* the nuclear norm, which is the sum of the singular values, and λ `local_weight`:

        l = -||C||_* + λ/N Σ_i ||Z_i||_*

    The norm of C is large if the centroids are long, that is if views of an example agree, and
    spread in all directions.

    Args:
        views: embeddings of the views, a list of `(n, dim)` or one tensor `(views, n, dim)`,
            floating-point; row i of each belongs to example i. Normalised here.
        local_weight: λ, at least 0.

    Returns:
        A scalar, at least float32, equal on all replicas.

    Raises:
        ValueError: if there are fewer than two views, shapes differ, the global batch holds a
            single example, or `local_weight` is negative.
        TypeError: if a view is not floating-point, or `local_weight` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(4, dtype="float32")
    >>> round(float(losses.mmcr([z, z], local_weight=0.0)), 4)
    -4.0
    >>> round(float(losses.mmcr([z, z], local_weight=0.5)), 4)  # the root of 2 for each example
    -3.2929

    Reference:
        - [Yerxa et al., Learning Efficient Coding of Natural Images with Maximum Manifold Capacity
          Representations](https://arxiv.org/abs/2303.03307)
    """
    local_weight = checks.number("local_weight", local_weight, minimum=0)
    z = ops.stack([l2_normalize(view) for view in split_views(views)], axis=1)
    centroids = distribute.all_gather(ops.mean(z, axis=1))
    value = -_nuclear_norm(centroids)
    if local_weight > 0:
        examples = ops.cast(ops.shape(centroids)[0], z.dtype)
        local = distribute.all_reduce_sum(ops.sum(_nuclear_norm(z)))
        value = value + local_weight * local / examples
    return value


def _nuclear_norm(matrices: Any) -> Any:
    # the gradient of singular values alone is finite even where some are equal or 0
    return ops.sum(ops.svd(matrices, compute_uv=False), axis=-1)


@keras.saving.register_keras_serializable(package="keras_ssl")
class MMCRLoss(ManyViewsLoss):
    """Extent of all examples' centroids, and of the views of each example, the loss of MMCR.

    See `keras_ssl.losses.mmcr` for the formula, errors and reference, and
    `keras_ssl.losses.BarlowTwinsLoss` for mixed precision and replicas.

    Args:
        local_weight: λ, a float of at least 0.
        **kwargs: `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        views: embeddings of two or more views, a list of `(batch, dim)` or one tensor
            `(views, batch, dim)`, floating-point; row i of each belongs to example i.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(4, dtype="float32")
    >>> round(float(losses.MMCRLoss(local_weight=0.5)([z, z])), 4)
    -3.2929
    """

    def __init__(self, local_weight: float = 0.005, **kwargs: Any):
        super().__init__(**kwargs)
        self.local_weight = checks.number("local_weight", local_weight, minimum=0)

    def call(self, views: Any, _: Any) -> Any:
        """Return the loss of the global batch, `(1,)`."""
        return ops.reshape(mmcr(views, self.local_weight), (1,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "local_weight": self.local_weight}
