"""DCLW: the decoupled contrastive loss with more weight on views that are far apart."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._checks import check_views
from keras_ssl.losses.contrastive._contrastive_loss import ContrastiveLoss
from keras_ssl.losses.contrastive._view_similarities import view_similarities
from keras_ssl.losses.contrastive.dcl import decoupled


def dclw(
    z1: Any,
    z2: Any,
    temperature: float = 0.1,
    sigma: float = 0.5,
    chunk_size: int | None = None,
) -> Any:
    """Weighted decoupled contrastive loss, one value an anchor.

    DCL whose positives have a weight: less where the two views agree more than those of other
    examples do. With s the cosine similarity, τ the temperature, j the other view of the example
    of i, and s_m the similarity of the two views of example m, of N over all replicas:

        l(i) = -w(i) s(i, j) / τ + log Σ_{k ∉ {i, j}} exp(s(i, k) / τ)
        w(i) = 2 - exp(s(i, j) / σ) / ( 1/N Σ_m exp(s_m / σ) )

    The mean of the weights over a batch is 1. No gradient flows through them: the paper does not
    say, and Lightly has it so.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point. Need not be normalised.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        temperature: τ, above 0.
        sigma: σ, above 0. The larger, the more equal are the weights.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good size. There
            are no second derivatives then.

    Returns:
        Tensor of shape `(2 * n,)`: the losses with the rows of `z1` as anchors, then those with
        the rows of `z2`. At least float32. 0 where a batch of unknown size turns out to hold a
        single example.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, if the batch over all replicas
            holds a single example, if `temperature` or `sigma` is not finite and above 0, or
            `chunk_size` below 1.
        TypeError: if a view is not floating-point, `temperature` or `sigma` not a number, or
            `chunk_size` not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> values = losses.dclw(z, z, temperature=0.5)  # equal pairs have weight 1
    >>> [round(float(value), 4) for value in values]
    [-1.3069, -1.3069, -1.3069, -1.3069]

    Reference:
        - [Yeh et al., Decoupled Contrastive Learning](https://arxiv.org/abs/2110.06848)
    """
    checks.positive("temperature", temperature)
    checks.positive("sigma", sigma)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    check_views(z1, z2)
    positives, negatives = view_similarities(z1, z2, temperature, chunk_size)
    # in cosine similarities, one an anchor: each example is there twice, which no mean notices
    weights = von_mises_fisher_weights(positives * temperature, sigma)
    return decoupled(weights * positives, negatives)


def von_mises_fisher_weights(similarities: Any, sigma: float) -> Any:
    """Weights that fall as the similarity of a positive pair rises, with mean 1.

    With s_i the similarity of pair i, of N over all replicas:

        w(i) = 2 - exp(s_i / σ) / ( 1/N Σ_m exp(s_m / σ) )

    Args:
        similarities: cosine similarities of this replica's pairs, `(n,)`.
        sigma: σ, above 0.

    Returns:
        Tensor of shape `(n,)`, between 2 - N and 2, without a gradient.

    Example:

    >>> from keras import ops
    >>> from keras_ssl.losses.contrastive.dclw import von_mises_fisher_weights
    >>> weights = von_mises_fisher_weights(ops.convert_to_tensor([1.0, 0.0]), sigma=0.5)
    >>> [round(float(weight), 4) for weight in weights]
    [0.2384, 1.7616]
    """
    logits = ops.stop_gradient(similarities) / sigma
    of_all = distribute.all_gather(logits)
    count = ops.cast(ops.shape(of_all)[0], logits.dtype)
    return 2 - count * ops.exp(logits - ops.logsumexp(of_all))


@keras.saving.register_keras_serializable(package="keras_ssl")
class DCLW(ContrastiveLoss):
    """Decoupled contrastive loss with von Mises-Fisher weights on the positives.

    `keras_ssl.losses.DCL` in which pairs that agree less than others pull more. See
    `keras_ssl.losses.dclw` for the formula.

    Embeddings are normalised inside, and the computation is in float32 under mixed precision.
    Under a `tf.distribute` strategy negatives and the mean of the weights are of all replicas. As
    with every Keras loss, the value is then divided by the number of replicas.

    Args:
        temperature: float above 0.
        sigma: float above 0, the width of the von Mises-Fisher weight.
        chunk_size: `None` stores the matrix of all similarities. An integer computes it in tiles
            of at most `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good
            size.
        reduction: as in `keras.losses.Loss`; the default is the mean over the anchors.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        z1: embeddings of the first views, `(batch, dim)`, floating-point.
        z2: embeddings of the second views, `(batch, dim)`; row i belongs to row i of `z1`.
        sample_weight: optional weights of the anchors, `(2 * batch,)`: first those of `z1`.

    Returns:
        A scalar, or the `(2 * batch,)` values of the anchors with `reduction=None`.

    Raises:
        ValueError: if `temperature` or `sigma` is not finite and above 0, `chunk_size` below 1,
            the shapes are not two equal `(batch, dim)`, or the batch over all replicas holds a
            single example.
        TypeError: if a view is not floating-point, `temperature` or `sigma` not a number, or
            `chunk_size` not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z1 = np.eye(2, dtype="float32")
    >>> z2 = np.array([[1, 0], [1, 1]], "float32")
    >>> loss = losses.DCLW(temperature=0.5, sigma=0.5, reduction=None)
    >>> [round(float(value), 4) for value in loss(z1, z2)]
    [0.2014, -1.1238, 0.2014, 0.2904]

    Reference:
        - [Yeh et al., Decoupled Contrastive Learning](https://arxiv.org/abs/2110.06848)
    """

    def __init__(
        self,
        temperature: float = 0.1,
        sigma: float = 0.5,
        chunk_size: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        checks.positive("sigma", sigma)
        super().__init__(temperature, chunk_size, reduction, name, dtype)
        self.sigma = float(sigma)

    def __call__(self, z1: Any, z2: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of two views."""
        # before Keras casts, which would hide integers
        check_views(z1, z2)
        return super().__call__(z1, z2, sample_weight=sample_weight)

    def call(self, z1: Any, z2: Any) -> Any:
        """Return the values of the anchors, before the reduction."""
        return dclw(z1, z2, self.temperature, self.sigma, self.chunk_size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "sigma": self.sigma}
