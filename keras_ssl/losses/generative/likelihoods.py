"""Likelihoods of data under what a decoder returns, terms of the loss of a VAE."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses.generative._checks import check_same_shape
from keras_ssl.ops import at_least_float32

NAMES = ("x", "outputs")


def bernoulli_nll(x: Any, outputs: Any) -> Any:
    """Negative log-likelihood of Bernoulli variables, one value per example.

    With logits a_ij of the variables j of example i, and p = sigmoid(a):

        l(i) = -Σ_j [x_ij log p_ij + (1 - x_ij) log(1 - p_ij)]

    Data between 0 and 1, such as gray values, is allowed, as in the papers; l is then the expected
    value for binary images drawn with these probabilities.

    Args:
        x: data in [0, 1], `(n, ...)`, floating-point.
        outputs: logits, of the same shape.

    Returns:
        Tensor of shape `(n,)` in nats, at least float32.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if an input is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> x = np.array([[0, 1, 1]], "float32")
    >>> [round(float(one), 4) for one in losses.bernoulli_nll(x, 0 * x)]  # 3 log 2
    [2.0794]

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114),
          appendix C.1
    """
    check_same_shape(x, outputs, NAMES)
    x, logits = at_least_float32(x), at_least_float32(outputs)
    # log(1 + e^a) - x a, finite for any finite a
    return _sum_of_examples(ops.softplus(logits) - x * logits)


def gaussian_nll(x: Any, outputs: Any, std: float = 1.0) -> Any:
    """Negative log-likelihood of normal variables of one standard deviation, a value per example.

    With means μ_ij of the variables j of example i:

        l(i) = Σ_j [(x_ij - μ_ij)² / (2 σ²) + log σ + log(2π) / 2]

    Args:
        x: data, `(n, ...)`, floating-point.
        outputs: means, of the same shape.
        std: σ, above 0.

    Returns:
        Tensor of shape `(n,)` in nats, at least float32.

    Raises:
        ValueError: if the shapes differ, or `std` is not positive.
        TypeError: if an input is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> x = np.array([[0, 1]], "float32")
    >>> [round(float(one), 4) for one in losses.gaussian_nll(x, x)]  # log(2π)
    [1.8379]

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114),
          appendix C.2
    """
    std = checks.positive("std", std)
    check_same_shape(x, outputs, NAMES)
    error = (at_least_float32(x) - at_least_float32(outputs)) / std
    return _sum_of_examples(0.5 * ops.square(error) + math.log(std) + 0.5 * math.log(2 * math.pi))


def _sum_of_examples(terms: Any) -> Any:
    axes = tuple(range(1, len(terms.shape)))
    return ops.sum(terms, axis=axes) if axes else terms


class Likelihood(Float32Loss):
    """Negative log-likelihood of data under what a decoder returns: base of such losses.

    A subclass defines `call(x, outputs)`, which returns a value per example in nats, and `mean`,
    and at times `check_values`.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        x: data, `(batch, ...)`.
        outputs: what the decoder returns, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Example:

    >>> from keras import ops
    >>> from keras_ssl import losses
    >>> class LaplaceNLL(losses.Likelihood):
    ...     def call(self, x, outputs):
    ...         return ops.sum(ops.abs(x - outputs) + ops.log(2.0), axis=-1)
    ...
    ...     def mean(self, outputs):
    ...         return outputs
    >>> round(float(LaplaceNLL()(ops.ones((4, 2)), ops.zeros((4, 2)))), 4)  # 2 + 2 log 2
    3.3863
    """

    def __call__(self, x: Any, outputs: Any, sample_weight: Any = None) -> Any:
        """Compute the negative log-likelihood of data."""
        check_same_shape(x, outputs, NAMES)  # before the cast, which would hide integers
        return super().__call__(x, outputs, sample_weight=sample_weight)

    def mean(self, outputs: Any) -> Any:
        """Return the expectation of the data that `outputs` describe, at least float32."""
        raise NotImplementedError

    def check_values(self, x: Any, name: str = "x") -> None:
        """Raise a `ValueError` if a NumPy array or eager tensor `x` holds impossible values."""
        values = ops.convert_to_numpy(x)
        if not np.all(np.isfinite(np.asarray(values, "float32"))):
            raise ValueError(f"`{name}` must be finite. Received: NaN or infinity")


@keras.saving.register_keras_serializable(package="keras_ssl")
class BernoulliNLL(Likelihood):
    """Negative log-likelihood of data in [0, 1] under logits.

    See `keras_ssl.losses.bernoulli_nll` for the formula, errors and reference. It is the sum over
    the variables of an example of `keras.losses.BinaryCrossentropy(from_logits=True)`, which takes
    their mean.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        x: data in [0, 1], `(batch, ...)`.
        outputs: logits, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> x = np.array([[0, 1, 1]], "float32")
    >>> round(float(losses.BernoulliNLL()(x, 0 * x)), 4)
    2.0794
    """

    def call(self, x: Any, outputs: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return bernoulli_nll(x, outputs)

    def mean(self, outputs: Any) -> Any:
        """Return the probabilities that belong to logits, at least float32."""
        return ops.sigmoid(at_least_float32(outputs))

    def check_values(self, x: Any, name: str = "x") -> None:
        """Raise a `ValueError` unless all values of an array or eager tensor are in [0, 1]."""
        super().check_values(x, name)
        values = ops.convert_to_numpy(x)
        if not values.size:
            return
        least, largest = (float(one) for one in (values.min(), values.max()))
        if least < 0 or largest > 1:
            raise ValueError(
                f"A Bernoulli likelihood needs data in [0, 1]: divide images of 0..255 by 255, or "
                f"use `losses.GaussianNLL`. Received: `{name}` with values from {least:.4g} to "
                f"{largest:.4g}"
            )


@keras.saving.register_keras_serializable(package="keras_ssl")
class GaussianNLL(Likelihood):
    """Negative log-likelihood of data under means, with one standard deviation.

    See `keras_ssl.losses.gaussian_nll` for the formula, errors and reference. A small standard
    deviation makes reconstructions matter more, beside the divergence of a VAE.

    Args:
        std: σ, a float above 0.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        x: data, `(batch, ...)`.
        outputs: means, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> x = np.array([[0, 1]], "float32")
    >>> round(float(losses.GaussianNLL(std=0.1)(x, x)), 4)
    -2.7673
    """

    def __init__(self, std: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.std = checks.positive("std", std)

    def call(self, x: Any, outputs: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return gaussian_nll(x, outputs, self.std)

    def mean(self, outputs: Any) -> Any:
        """Return the means themselves, at least float32."""
        return at_least_float32(outputs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "std": self.std}
