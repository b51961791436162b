"""Divergence of normal distributions, a term of the loss of variational autoencoders."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses.generative._checks import check_rank, check_same_shape
from keras_ssl.ops import at_least_float32

NAMES = ("mean", "log_variance")


def gaussian_kl_terms(
    mean: Any, log_variance: Any, prior_mean: Any = 0.0, prior_log_variance: Any = 0.0
) -> Any:
    """Kullback-Leibler divergence of independent normal variables from others, one value for each.

    With N(μ, σ²) a variable and N(m, s²) its prior:

        KL = log(s / σ) + (σ² + (μ - m)²) / (2 s²) - 1/2

    Args:
        mean: μ, any shape.
        log_variance: log σ², of the same shape.
        prior_mean: m, a number or a tensor that broadcasts to the shape of `mean`.
        prior_log_variance: log s², likewise.

    Returns:
        Tensor of the shape of `mean` in nats, at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> terms = losses.gaussian_kl_terms(np.array([0.0, 1.0]), np.log(np.array([1.0, 4.0])))
    >>> [round(float(one), 4) for one in terms]  # log(1/2) + (4 + 1)/2 - 1/2
    [0.0, 1.3069]

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114),
          appendix B
    """
    given = [at_least_float32(one) for one in (mean, log_variance, prior_mean, prior_log_variance)]
    dtype = keras.backend.result_type(*(one.dtype for one in given))
    mean, log_variance, prior_mean, prior_log_variance = (ops.cast(one, dtype) for one in given)
    ratio = log_variance - prior_log_variance
    distance = ops.square(mean - prior_mean) * ops.exp(-prior_log_variance)
    # e^x - 1 keeps the digits of variances near that of the prior
    return 0.5 * (ops.expm1(ratio) - ratio + distance)


def gaussian_kl(mean: Any, log_variance: Any, free_bits: float = 0.0) -> Any:
    """Kullback-Leibler divergence of normal variables from standard ones, one value per example.

    With N(μ_ij, σ_ij²) the independent variables j of example i:

        l(i) = Σ_j KL_ij,    KL_ij = (σ_ij² + μ_ij² - 1 - log σ_ij²) / 2

    With free bits λ, a variable whose divergence is less than λ in the mean over the batch does not
    pay: its KL_ij is replaced by λ, without a gradient. The mean of the values is then
    Σ_j max(λ, mean_i KL_ij). The batch is that of all replicas.

    Args:
        mean: μ, `(n, ...)`, floating-point.
        log_variance: log σ², of the same shape.
        free_bits: λ in nats per variable, at least 0.

    Returns:
        Tensor of shape `(n,)` in nats, at least float32.

    Raises:
        ValueError: if the shapes differ, or `free_bits` is negative.
        TypeError: if an input is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> mean = np.array([[1, 0], [1, 0]], "float32")
    >>> losses.gaussian_kl(mean, np.zeros((2, 2), "float32")).numpy().tolist()
    [0.5, 0.5]
    >>> losses.gaussian_kl(mean, np.zeros((2, 2), "float32"), free_bits=0.25).numpy().tolist()
    [0.75, 0.75]

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
        - [Kingma et al., Improving Variational Inference with Inverse Autoregressive
          Flow](https://arxiv.org/abs/1606.04934), appendix C.8: free bits
    """
    free_bits = checks.number("free_bits", free_bits, minimum=0)
    check_rank(mean, "mean", 2, "(batch, ..., variables)")
    check_same_shape(mean, log_variance, NAMES)
    terms = gaussian_kl_terms(mean, log_variance)
    if free_bits:
        sums = distribute.all_reduce_sum(ops.sum(ops.stop_gradient(terms), axis=0))
        examples = ops.cast(ops.shape(terms)[0] * distribute.replica_count(), terms.dtype)
        terms = ops.where(sums > free_bits * examples, terms, free_bits)
    return ops.sum(terms, axis=tuple(range(1, len(terms.shape))))


@keras.saving.register_keras_serializable(package="keras_ssl")
class GaussianKL(Float32Loss):
    """Divergence of normal variables from standard ones, the regulariser of a VAE.

    See `keras_ssl.losses.gaussian_kl` for the formula, errors and references.

    Args:
        free_bits: λ in nats per variable, a float of at least 0.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        mean: `(batch, ...)`, floating-point.
        log_variance: `(batch, ...)`.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> mean, log_variance = np.zeros((4, 2), "float32"), np.ones((4, 2), "float32")
    >>> round(float(losses.GaussianKL()(mean, log_variance)), 4)  # e - 2
    0.7183
    """

    def __init__(self, free_bits: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.free_bits = checks.number("free_bits", free_bits, minimum=0)

    def __call__(self, mean: Any, log_variance: Any, sample_weight: Any = None) -> Any:
        """Compute the divergence of variables of these means and variances."""
        check_same_shape(mean, log_variance, NAMES)  # before the cast, which would hide integers
        return super().__call__(mean, log_variance, sample_weight=sample_weight)

    def call(self, mean: Any, log_variance: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return gaussian_kl(mean, log_variance, self.free_bits)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "free_bits": self.free_bits}
