"""The loss of SigLIP: each pair of an image and a text is classified on its own."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import like
from keras_ssl.losses._checks import check_has_negatives, check_views
from keras_ssl.losses._class_numbers import class_numbers
from keras_ssl.losses.contrastive._base import (
    PairLoss,
    check_group_ids,
    sums_of_groups,
)
from keras_ssl.ops import l2_normalize, softplus_sum_of_similarities

_NAMES = ("images", "texts")


def sig_lip(
    images: Any,
    texts: Any,
    temperature: Any = 0.1,
    bias: Any = -10.0,
    chunk_size: int | None = None,
    group_ids: Any = None,
) -> Any:
    """Sigmoid loss of images and texts, one value per image.

    Whether a text belongs to an image is a question of its own for each of all pairs, without a
    softmax over the batch. With s the cosine similarity, τ the temperature, b the bias, u_i an
    image, v_j a text, and z_ij = 1 where they belong together and -1 elsewhere:

        l(i) = -Σ_j log σ( z_ij (s(u_i, v_j) / τ + b) )

    where j runs over the examples of all replicas. The mean over the images is the paper's loss.
    SigLIP learns both the logarithm of 1 / τ and b.

    Args:
        images: embeddings of one modality, `(n, dim)`, floating-point. They are normalised here.
        texts: embeddings of the other, `(n, dim)`; row i belongs to row i of `images`.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient. SigLIP starts from 0.1.
        bias: b: a number, or a scalar tensor or variable, which gets its gradient. SigLIP starts
            from -10, since nearly all pairs do not belong together.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, with the same value and gradient but without second
            derivatives; 2048 is a good size.
        group_ids: optional integers `(n,)`, the same for pairs that match each other, such as the
            number of the caption; -1 for a pair that matches no other.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, the global batch holds a single
            example, or an argument is out of range.
        TypeError: if an input is not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> values = losses.sig_lip(z, z, temperature=0.5, bias=-1.0)
    >>> [round(float(value), 4) for value in values]  # log(1 + 1/e) + log(1 + 1/e)
    [0.6265, 0.6265]

    Reference:
        - [Zhai et al., Sigmoid Loss for Language Image Pre-Training](
          https://arxiv.org/abs/2303.15343)
    """
    check_views(images, texts, _NAMES)
    if group_ids is not None:
        check_group_ids(group_ids, images)
        group_ids = class_numbers(group_ids)
    temperature, bias = checks.temperature("temperature", temperature), checks.bias("bias", bias)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    return _values(images, texts, temperature, bias, chunk_size, group_ids)


def _values(
    images: Any, texts: Any, temperature: Any, bias: Any, chunk_size: int | None, groups: Any
) -> Any:
    """Values of the images; groups are numbered from 0, or `None`."""
    check_has_negatives(images, _NAMES)
    images, texts = l2_normalize(images), l2_normalize(texts)
    ones = ops.ones_like(images[:, :1])
    anchors = ops.concatenate([images / like(temperature, images), like(bias, images) * ones], 1)
    others = ops.concatenate([texts, ops.cast(ones, texts.dtype)], axis=1)
    candidates = distribute.all_gather(others)
    matching = others
    if groups is not None:
        matching, _ = sums_of_groups(candidates, distribute.all_gather(groups), groups)
    # -log σ(x) = softplus(x) - x, and -log σ(-x) = softplus(x)
    values = softplus_sum_of_similarities(anchors, candidates, chunk_size)
    return values - ops.sum(anchors * matching, axis=-1)


@keras.saving.register_keras_serializable(package="keras_ssl")
class SigLIPLoss(PairLoss):
    """Sigmoid loss between the embeddings of two modalities, the loss of SigLIP.

    See `keras_ssl.losses.sig_lip` for the formula, errors and reference, and
    `keras_ssl.losses.NTXent` for mixed precision and replicas.

    Args:
        temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`; used unless the
            call gives one.
        bias: float, added to the logits; used unless the call gives one.
        chunk_size: `None`, or the side of the tiles in which similarities are computed, see
            `keras_ssl.losses.NTXent`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        images: embeddings of one modality, `(batch, dim)`, floating-point.
        texts: embeddings of the other, `(batch, dim)`; row i belongs to row i of `images`.
        sample_weight: optional weights of the images, `(batch,)`.
        temperature: optional scalar tensor or variable, such as a learned one, that replaces the
            constructor's.
        bias: the same for the bias.
        group_ids: optional integers `(batch,)`, the same for pairs that match each other; -1 for
            a pair that matches no other.

    Returns:
        The mean over the images, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> round(float(losses.SigLIPLoss(temperature=0.5, bias=-1.0)(z, z)), 4)
    0.6265
    """

    def __init__(
        self,
        temperature: Any = 0.1,
        bias: float = -10.0,
        chunk_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(temperature, chunk_size, **kwargs)
        self.bias = checks.number("bias", bias)

    def __call__(
        self,
        images: Any,
        texts: Any,
        sample_weight: Any = None,
        temperature: Any = None,
        bias: Any = None,
        group_ids: Any = None,
    ) -> Any:
        """Compute the loss of two modalities."""
        check_views(images, texts, _NAMES)
        temperature = self.value_now("temperature") if temperature is None else temperature
        numbers = {
            "temperature": checks.temperature("temperature", temperature),
            "bias": checks.bias("bias", self.bias if bias is None else bias),
        }
        return self.of_pairs(images, texts, sample_weight, group_ids, **numbers)

    def values(self, images: Any, texts: Any, groups: Any, temperature: Any, bias: Any) -> Any:
        """Return the values of the images."""
        return _values(images, texts, temperature, bias, self.chunk_size, groups)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "bias": self.bias}
