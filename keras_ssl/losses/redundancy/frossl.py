"""FroSSL: Frobenius norms that measure the entropy of features."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses.redundancy._base import ManyViewsLoss, global_view_list
from keras_ssl.ops import l2_normalize


def frossl(views: Any, invariance_weight: float = 1.0) -> Any:
    """Invariance of views and the entropy of the features of each.

    With V views Z_v of N examples over all replicas, their d features each scaled to length 1 over
    the batch, Z̄ the mean of the views and λ `invariance_weight`:

        l = Σ_v log ||Z_vᵀ Z_v / tr(Z_vᵀ Z_v)||²_F + λ V/N Σ_v ||Z_v - Z̄||²_F

    The first term is minus the Rényi entropy of order 2 of the eigenvalues of the features'
    correlations: it is 0 if all features are equal and -log d if they are uncorrelated. No
    eigenvalues are computed, and of the products of features and of examples only the smaller.

    Args:
        views: embeddings of the views, a list of `(n, dim)` or one tensor `(views, n, dim)`,
            floating-point; row i of each belongs to example i.
        invariance_weight: λ, at least 0.

    Returns:
        A scalar, at least float32, equal on all replicas.

    Raises:
        ValueError: if there are fewer than two views, shapes differ, the global batch holds a
            single example, or `invariance_weight` is negative.
        TypeError: if a view is not floating-point, or `invariance_weight` not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")  # uncorrelated features
    >>> round(float(losses.frossl([z, z])), 4)  # twice -log 2
    -1.3863

    Reference:
        - [Skean et al., FroSSL: Frobenius Norm Minimization for Efficient Multiview
          Self-Supervised Learning](https://arxiv.org/abs/2310.02903)
    """
    invariance_weight = checks.number("invariance_weight", invariance_weight, minimum=0)
    views = [_scale_features(view) for view in global_view_list(views)]
    mean = sum(views[1:], views[0]) / len(views)
    entropy = sum(_log_squared_norm(z) for z in views)
    distance = sum(ops.sum(ops.square(z - mean)) for z in views)
    examples = ops.cast(ops.shape(mean)[0], mean.dtype)
    return entropy + invariance_weight * len(views) * distance / examples


def _scale_features(view: Any) -> Any:
    return ops.transpose(l2_normalize(ops.transpose(view)))


def _log_squared_norm(z: Any) -> Any:
    """Logarithm of the squared Frobenius norm of `zᵀ z`, scaled to trace 1."""
    rows, columns = z.shape
    transposed = ops.transpose(z)
    few_features = rows is None or columns is None or rows >= columns
    gram = ops.matmul(transposed, z) if few_features else ops.matmul(z, transposed)
    # the trace counts the features that are not 0 everywhere; without any, the value is 0
    norm = ops.maximum(ops.sum(ops.square(gram)), 1e-12)
    trace = ops.maximum(ops.stop_gradient(ops.sum(ops.square(z))), 1e-6)
    return ops.log(norm) - 2 * ops.log(trace)


@keras.saving.register_keras_serializable(package="keras_ssl")
class FroSSLLoss(ManyViewsLoss):
    """Invariance of views and the entropy of the features of each, the loss of FroSSL.

    See `keras_ssl.losses.frossl` for the formula, errors and reference, and
    `keras_ssl.losses.BarlowTwinsLoss` for mixed precision and replicas.

    Args:
        invariance_weight: λ, a float of at least 0.
        **kwargs: `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        views: embeddings of two or more views, a list of `(batch, dim)` or one tensor
            `(views, batch, dim)`, floating-point; row i of each belongs to example i.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")  # uncorrelated features
    >>> round(float(losses.FroSSLLoss()([z, z])), 4)  # twice -log 2
    -1.3863
    """

    def __init__(self, invariance_weight: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.invariance_weight = checks.number("invariance_weight", invariance_weight, minimum=0)

    def call(self, views: Any, _: Any) -> Any:
        """Return the loss of the global batch, `(1,)`."""
        return ops.reshape(frossl(views, self.invariance_weight), (1,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "invariance_weight": self.invariance_weight}
