"""DCL and DCLW, contrastive losses without the positive in the denominator."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import like
from keras_ssl.losses.contrastive._base import TwoViewLoss, view_similarities


def dcl(z1: Any, z2: Any, temperature: Any = 0.1, chunk_size: int | None = None) -> Any:
    """Decoupled contrastive loss, one value per anchor.

    NT-Xent without the positive in the denominator. With s the cosine similarity, τ the
    temperature and j the other view of the example of i:

        l(i) = -s(i, j) / τ + log Σ_{k ∉ {i, j}} exp(s(i, k) / τ)

    where k runs over both views of all other examples of all replicas. In NT-Xent a positive that
    is already close shrinks the gradient of all negatives, the more so the smaller the batch;
    here it does not. Values may be negative.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point. They are normalised here.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, with the same value and gradient but without second
            derivatives; 2048 is a good size.

    Returns:
        Tensor of shape `(2 * n,)`, at least float32: the losses of the anchors in `z1`, then of
        those in `z2`. 0 where a batch of unknown size turns out to hold a single example.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, the global batch is known to hold
            a single example, or an argument is out of range.
        TypeError: if a view is not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> values = losses.dcl(z, z, temperature=0.5)
    >>> [round(float(value), 4) for value in values]  # -2 + log(2)
    [-1.3069, -1.3069, -1.3069, -1.3069]

    Reference:
        - [Yeh et al., Decoupled Contrastive Learning](https://arxiv.org/abs/2110.06848)
    """
    return _decoupled(*view_similarities(z1, z2, temperature, chunk_size))


def dclw(
    z1: Any,
    z2: Any,
    temperature: Any = 0.1,
    sigma: float = 0.5,
    chunk_size: int | None = None,
) -> Any:
    """Weighted decoupled contrastive loss, one value per anchor.

    `keras_ssl.losses.dcl` whose positives are weighted: less where the two views agree more than
    those of other examples do. With s_m the similarity of the two views of example m, out of N
    over all replicas:

        l(i) = -w(i) s(i, j) / τ + log Σ_{k ∉ {i, j}} exp(s(i, k) / τ)
        w(i) = 2 - exp(s(i, j) / σ) / ( 1/N Σ_m exp(s_m / σ) )

    The mean weight over a batch is 1. No gradient flows through the weights: the paper does not
    say, and Lightly stops it.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point. They are normalised here.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient.
        sigma: σ, above 0. The larger, the more equal the weights.
        chunk_size: as in `keras_ssl.losses.dcl`.

    Returns:
        Tensor of shape `(2 * n,)`, as `keras_ssl.losses.dcl` returns it.

    Raises:
        ValueError: as `keras_ssl.losses.dcl`.
        TypeError: as `keras_ssl.losses.dcl`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> values = losses.dclw(z, z, temperature=0.5)  # pairs that agree alike have weight 1
    >>> [round(float(value), 4) for value in values]
    [-1.3069, -1.3069, -1.3069, -1.3069]

    Reference:
        - [Yeh et al., Decoupled Contrastive Learning](https://arxiv.org/abs/2110.06848)
    """
    checks.positive("sigma", sigma)
    positives, negatives = view_similarities(z1, z2, temperature, chunk_size)
    # from anchors in place of examples: each example occurs twice, which changes no mean
    similarities = positives * like(checks.temperature("temperature", temperature), positives)
    weights = _von_mises_fisher_weights(similarities, sigma)
    return _decoupled(weights * positives, negatives)


def _decoupled(positives: Any, negatives: Any) -> Any:
    """`negatives - positives`, or 0 where the only example has no negatives."""
    values = negatives - positives
    anchors = ops.shape(negatives)[0] * distribute.replica_count()
    if isinstance(anchors, int):
        return values  # view_similarities has checked that there are several examples
    return ops.where(anchors > 2, values, ops.zeros_like(values))


def _von_mises_fisher_weights(similarities: Any, sigma: float) -> Any:
    """Weights of mean 1 over all replicas that fall with the similarity of a positive pair."""
    logits = ops.stop_gradient(similarities) / sigma
    all_logits = distribute.all_gather(logits)
    count = ops.cast(ops.shape(all_logits)[0], logits.dtype)
    return 2 - count * ops.exp(logits - ops.logsumexp(all_logits))


@keras.saving.register_keras_serializable(package="keras_ssl")
class DCL(TwoViewLoss):
    """Decoupled contrastive loss: NT-Xent without the positive in the denominator.

    Meant for `keras_ssl.trainers.SimCLR` with small batches. See `keras_ssl.losses.dcl` for the
    formula, errors and reference, and `keras_ssl.losses.NTXent` for mixed precision and replicas.

    Args:
        temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`.
        chunk_size: `None`, or the side of the tiles in which similarities are computed, see
            `keras_ssl.losses.NTXent`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        z1: embeddings of the first views, `(batch, dim)`, floating-point.
        z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.
        sample_weight: optional weights of the anchors, `(2 * batch,)`, those of `z1` first.

    Returns:
        The mean over the anchors, or their `(2 * batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> round(float(losses.DCL(temperature=0.5)(z, z)), 4)  # -2 + log(2)
    -1.3069
    """

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the values of the anchors, before the reduction."""
        return dcl(z1, z2, self.value_now("temperature"), self.chunk_size)


@keras.saving.register_keras_serializable(package="keras_ssl")
class DCLW(TwoViewLoss):
    """Decoupled contrastive loss with von Mises-Fisher weights on the positives.

    `keras_ssl.losses.DCL` in which pairs that agree less than others are weighted more. See
    `keras_ssl.losses.dclw` for the formula, errors and reference.

    Args:
        temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`.
        sigma: float above 0, the width of the von Mises-Fisher weights.
        chunk_size: `None`, or the side of the tiles in which similarities are computed, see
            `keras_ssl.losses.NTXent`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        z1: embeddings of the first views, `(batch, dim)`, floating-point.
        z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.
        sample_weight: optional weights of the anchors, `(2 * batch,)`, those of `z1` first.

    Returns:
        The mean over the anchors, or their `(2 * batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z1 = np.eye(2, dtype="float32")
    >>> z2 = np.array([[1, 0], [1, 1]], "float32")
    >>> loss = losses.DCLW(temperature=0.5, sigma=0.5, reduction=None)
    >>> [round(float(value), 4) for value in loss(z1, z2)]
    [0.2014, -1.1238, 0.2014, 0.2904]
    """

    def __init__(
        self,
        temperature: Any = 0.1,
        sigma: float = 0.5,
        chunk_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(temperature, chunk_size, **kwargs)
        self.sigma = checks.positive("sigma", sigma)

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the values of the anchors, before the reduction."""
        return dclw(z1, z2, self.value_now("temperature"), self.sigma, self.chunk_size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "sigma": self.sigma}
