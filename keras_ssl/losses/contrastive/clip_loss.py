"""The loss of CLIP."""

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
from keras_ssl.losses.contrastive.info_nce import info_nce
from keras_ssl.ops import l2_normalize, log_sum_exp_of_similarities

_NAMES = ("images", "texts")


def clip_loss(
    images: Any,
    texts: Any,
    temperature: Any = 0.07,
    chunk_size: int | None = None,
    group_ids: Any = None,
) -> Any:
    """Symmetric cross entropy between two modalities, one value per anchor.

    Each image picks its text out of the texts of all examples, and each text its image. With s
    the cosine similarity, τ the temperature, u_i an image and v_i its text:

        l(u_i) = -log( exp(s(u_i, v_i) / τ) / Σ_k exp(s(u_i, v_k) / τ) )
        l(v_i) = -log( exp(s(v_i, u_i) / τ) / Σ_k exp(s(v_i, u_k) / τ) )

    where k runs over the examples of all replicas. The mean over all values is the paper's loss.
    CLIP learns the logarithm of 1 / τ: pass `temperature=ops.exp(-logit_scale)`.

    Captions that several images of a batch share are no negatives of these images. With
    `group_ids`, all pairs of the group of i, P(i), are its positives, each with the same share:

        l(u_i) = -1/|P(i)| Σ_{p ∈ P(i)} log( exp(s(u_i, v_p) / τ) / Σ_k exp(s(u_i, v_k) / τ) )

    Args:
        images: embeddings of one modality, `(n, dim)`, floating-point. They are normalised here.
        texts: embeddings of the other, `(n, dim)`; row i belongs to row i of `images`.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient. CLIP starts from 0.07.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, with the same value and gradient but without second
            derivatives; 2048 is a good size.
        group_ids: optional integers `(n,)`, the same for pairs that match each other, such as the
            number of the caption; -1 for a pair that matches no other.

    Returns:
        Tensor of shape `(2 * n,)`, at least float32: the losses of the images, then of the texts.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, the global batch holds a single
            example, or an argument is out of range.
        TypeError: if an input is not floating-point, or an argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> [round(float(value), 4) for value in losses.clip_loss(z, z, temperature=0.5)]
    [0.1269, 0.1269, 0.1269, 0.1269]

    Reference:
        - [Radford et al., Learning Transferable Visual Models From Natural Language
          Supervision](https://arxiv.org/abs/2103.00020)
        - [Yang et al., Unified Contrastive Learning in Image-Text-Label
          Space](https://arxiv.org/abs/2204.03610): groups of pairs
    """
    check_views(images, texts, _NAMES)
    if group_ids is not None:
        check_group_ids(group_ids, images)
        temperature = checks.temperature("temperature", temperature)
        checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
        return _of_groups(images, texts, temperature, chunk_size, class_numbers(group_ids))
    of_images = info_nce(images, texts, temperature=temperature, chunk_size=chunk_size)
    of_texts = info_nce(texts, images, temperature=temperature, chunk_size=chunk_size)
    return ops.concatenate([of_images, of_texts], axis=0)


def _of_groups(
    images: Any, texts: Any, temperature: Any, chunk_size: int | None, groups: Any
) -> Any:
    """Values of the anchors of both modalities, whose groups are numbered from 0."""
    check_has_negatives(images, _NAMES)
    images, texts = l2_normalize(images), l2_normalize(texts)
    temperature = like(temperature, images)
    all_groups = distribute.all_gather(groups)
    values = []
    for anchors, others in ((images, texts), (texts, images)):
        anchors, candidates = anchors / temperature, distribute.all_gather(others)
        sums, sizes = sums_of_groups(candidates, all_groups, groups)
        positive = ops.sum(anchors * sums, axis=-1) / sizes
        values.append(log_sum_exp_of_similarities(anchors, candidates, None, chunk_size) - positive)
    return ops.concatenate(values, axis=0)


@keras.saving.register_keras_serializable(package="keras_ssl")
class CLIPLoss(PairLoss):
    """Symmetric cross entropy between the embeddings of two modalities, the loss of CLIP.

    See `keras_ssl.losses.clip_loss` for the formula, errors and reference, and
    `keras_ssl.losses.NTXent` for mixed precision and replicas.

    Args:
        temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`; used unless the
            call gives one.
        chunk_size: `None`, or the side of the tiles in which similarities are computed, see
            `keras_ssl.losses.NTXent`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        images: embeddings of one modality, `(batch, dim)`, floating-point.
        texts: embeddings of the other, `(batch, dim)`; row i belongs to row i of `images`.
        sample_weight: optional weights of the anchors, `(2 * batch,)`, those of `images` first.
        temperature: optional scalar tensor or variable, such as a learned one, that replaces the
            constructor's.
        group_ids: optional integers `(batch,)`, the same for pairs that match each other; -1 for
            a pair that matches no other.

    Returns:
        The mean over the anchors, or their `(2 * batch,)` values with `reduction=None`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> loss = losses.CLIPLoss(temperature=0.5)
    >>> round(float(loss(z, z)), 4)
    0.1269
    >>> logit_scale = keras.Variable(np.log(2.0))
    >>> round(float(loss(z, z, temperature=keras.ops.exp(-logit_scale))), 4)
    0.1269
    """

    def __init__(self, temperature: Any = 0.07, chunk_size: int | None = None, **kwargs: Any):
        super().__init__(temperature, chunk_size, **kwargs)

    def __call__(
        self,
        images: Any,
        texts: Any,
        sample_weight: Any = None,
        temperature: Any = None,
        group_ids: Any = None,
    ) -> Any:
        """Compute the loss of two modalities."""
        check_views(images, texts, _NAMES)
        temperature = self.value_now("temperature") if temperature is None else temperature
        temperature = checks.temperature("temperature", temperature)
        return self.of_pairs(images, texts, sample_weight, group_ids, temperature=temperature)

    def values(self, images: Any, texts: Any, groups: Any, temperature: Any) -> Any:
        """Return the values of the images, then of the texts."""
        if groups is None:
            return clip_loss(images, texts, temperature, self.chunk_size)
        return _of_groups(images, texts, temperature, self.chunk_size, groups)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config()
