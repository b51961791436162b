"""Maximum mean discrepancy: how unlike two samples are."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import BatchLoss
from keras_ssl.losses._checks import check_matrix, check_views
from keras_ssl.ops import at_least_float32

NAMES = ("x", "y")
BANDWIDTHS = (0.1, 0.3, 1.0)


def mmd(x: Any, y: Any, bandwidths: Sequence[float] = BANDWIDTHS, relative: bool = True) -> Any:
    """Squared maximum mean discrepancy of two samples.

    With a kernel k that is the mean of Gaussians of the bandwidths σ:

        l = mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)
        k(a, b) = mean_σ exp(-|a - b|² / (2 σ²))

    Its expectation is 0 if both samples are of the same distribution, and positive otherwise. The
    samples are those of all replicas. Gradients flow to both.

    Args:
        x: a sample, `(n, dim)`, floating-point.
        y: another one, `(n, dim)`.
        bandwidths: σ, positive numbers.
        relative: whether σ are in units of the root of the mean squared distance of two points of
            both samples, through which no gradient flows.

    Returns:
        A scalar, at least float32, equal on all replicas.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, there are less than 2 examples over
            all replicas, or `bandwidths` are not positive.
        TypeError: if an input is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> x = np.random.default_rng(0).normal(size=(200, 2)).astype("float32")
    >>> round(float(losses.mmd(x, x[::-1] + 3.0)), 2), round(float(losses.mmd(x, -x)), 2)
    (0.53, -0.0)

    Reference:
        - [Gretton et al., A Kernel Two-Sample Test](https://jmlr.org/papers/v13/gretton12a.html),
          lemma 6
        - [Li et al., Generative Moment Matching Networks](https://arxiv.org/abs/1502.02761)
    """
    bandwidths = _checked(bandwidths)
    check_views(x, y, NAMES)
    # replicas exchange dense gradients only, into which TensorFlow turns those of a reshaped tensor
    x, y = (
        ops.reshape(distribute.all_gather(at_least_float32(one)), (-1, one.shape[-1]))
        for one in (x, y)
    )
    rows = x.shape[0]
    if rows is not None and rows < 2:
        raise ValueError(
            "`x` and `y` must hold at least 2 examples over all replicas. "
            f"Received: x.shape={tuple(x.shape)}"
        )
    both = ops.concatenate([x, y], axis=0)
    # squared distances of points near each other keep more digits near the origin
    both = both - ops.stop_gradient(ops.mean(both, axis=0))
    squares = ops.sum(ops.square(both), axis=-1)
    products = ops.matmul(both, ops.transpose(both))
    distances = ops.maximum(squares[:, None] + squares[None] - 2 * products, 0.0)
    if relative:
        # the mean over pairs is 2 / N sum of the squares, since the mean is 0
        distances = distances / ops.maximum(ops.stop_gradient(2 * ops.mean(squares)), 1e-30)
    kernel = sum(ops.exp(distances * (-0.5 / one**2)) for one in bandwidths) / len(bandwidths)
    count = ops.shape(x)[0]
    n = ops.cast(count, kernel.dtype)
    # without the diagonal, whose values are 1 but for rounding
    others = kernel * (1 - ops.eye(2 * count, dtype=kernel.dtype))
    within = ops.sum(others[:count, :count]) + ops.sum(others[count:, count:])
    return within / (n * (n - 1)) - 2 * ops.mean(kernel[:count, count:])


def _checked(bandwidths: Any) -> tuple[float, ...]:
    is_sequence = isinstance(bandwidths, (tuple, list)) and len(bandwidths)
    if not is_sequence:
        raise ValueError(
            "`bandwidths` must be a sequence of positive numbers. "
            f"Received: bandwidths={bandwidths!r}"
        )
    return tuple(checks.positive("bandwidths", one) for one in bandwidths)


@keras.saving.register_keras_serializable(package="keras_ssl")
class MMD(BatchLoss):
    """Squared maximum mean discrepancy of two samples, the loss of moment matching.

    See `keras_ssl.losses.mmd` for the formula, errors and references. It is one number for the
    global batch: there is neither a reduction nor a sample weight. Under a `tf.distribute` strategy
    samples are gathered from all replicas.

    Args:
        bandwidths: σ of the Gaussian kernels, positive floats.
        relative: whether σ are in units of the root of the mean squared distance.
        name, dtype: as in `keras.losses.Loss`.

    Call arguments:
        x: a sample, `(batch, dim)`.
        y: another one, `(batch, dim)`.

    Returns:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> x = np.array([[0], [2]], "float32")
    >>> round(float(losses.MMD(bandwidths=[1.0], relative=False)(x, x)), 4)  # e^-2 - 1
    -0.8647
    """

    def __init__(
        self,
        bandwidths: Sequence[float] = BANDWIDTHS,
        relative: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.bandwidths = _checked(bandwidths)
        self.relative = relative

    def __call__(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        """Compute the discrepancy of two samples."""
        for one, name in zip((x, y), NAMES, strict=True):
            check_matrix(one, name)  # before the cast, which would hide integers
        return super().__call__(x, y, sample_weight)

    def call(self, x: Any, y: Any) -> Any:
        """Return the discrepancy, which Keras divides by the number of replicas, as `(1,)`."""
        return ops.reshape(mmd(x, y, self.bandwidths, self.relative), (1,))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"bandwidths": self.bandwidths, "relative": self.relative}
        return {**super().get_config(), **own}
