"""What VICReg and VICRegL share: the terms of centred embeddings, and their weights."""

from typing import Any

from keras import ops

from keras_ssl import checks
from keras_ssl.ops import off_diagonal_sum_of_squares


def variance_term(centered: Any, epsilon: float) -> Any:
    """Mean over features of how far standard deviations are below 1; `(n, ..., dim)`."""
    variance = ops.sum(ops.square(centered), axis=0) / _degrees_of_freedom(centered)
    return ops.mean(ops.relu(1 - ops.sqrt(variance + epsilon)))


def covariance_term(centered: Any) -> Any:
    """Sum of squared covariances by dim; of `(n, ..., dim)`, the mean over the middle axes."""
    # the root on both sides, so that the product of squares does not overflow float32 early
    scaled = centered / ops.sqrt(_degrees_of_freedom(centered))
    scaled = ops.moveaxis(scaled, 0, -2)
    return ops.mean(off_diagonal_sum_of_squares(scaled, scaled)) / centered.shape[-1]


def _degrees_of_freedom(z: Any) -> Any:
    # at least 1, so that a last batch that turns out to hold one example gives 0 and not NaN
    return ops.cast(ops.maximum(ops.shape(z)[0] - 1, 1), z.dtype)


def weights_by_term(invariance: Any, variance: Any, covariance: Any) -> dict[str, float]:
    """Return validated weights by the names of the terms."""
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    return {
        name: checks.number(f"{name}_weight", weight, minimum=0) for name, weight in weights.items()
    }
