"""The loss of CLIP."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import check_views
from keras_ssl.losses.contrastive._base import ContrastiveLoss
from keras_ssl.losses.contrastive.info_nce import info_nce

_NAMES = ("images", "texts")


def clip_loss(
    images: Any, texts: Any, temperature: Any = 0.07, chunk_size: int | None = None
) -> Any:
    """Symmetric cross entropy between two modalities, one value per anchor.

    Each image picks its text out of the texts of all examples, and each text its image. With s
    the cosine similarity, τ the temperature, u_i an image and v_i its text:

        l(u_i) = -log( exp(s(u_i, v_i) / τ) / Σ_k exp(s(u_i, v_k) / τ) )
        l(v_i) = -log( exp(s(v_i, u_i) / τ) / Σ_k exp(s(v_i, u_k) / τ) )

    where k runs over the examples of all replicas. The mean over all values is the paper's loss.
    CLIP learns the logarithm of 1 / τ: pass `temperature=ops.exp(-logit_scale)`.

    Args:
        images: embeddings of one modality, `(n, dim)`, floating-point. They are normalised here.
        texts: embeddings of the other, `(n, dim)`; row i belongs to row i of `images`.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient. CLIP starts from 0.07.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, with the same value and gradient but without second
            derivatives; 2048 is a good size.

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
    """
    check_views(images, texts, _NAMES)
    of_images = info_nce(images, texts, temperature=temperature, chunk_size=chunk_size)
    of_texts = info_nce(texts, images, temperature=temperature, chunk_size=chunk_size)
    return ops.concatenate([of_images, of_texts], axis=0)


@keras.saving.register_keras_serializable(package="keras_ssl")
class CLIPLoss(ContrastiveLoss):
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
        self, images: Any, texts: Any, sample_weight: Any = None, temperature: Any = None
    ) -> Any:
        """Compute the loss of two modalities."""
        check_views(images, texts, _NAMES)
        temperature = self.value_now("temperature") if temperature is None else temperature
        temperature = checks.temperature("temperature", temperature)
        return super().__call__((images, temperature), texts, sample_weight=sample_weight)

    def call(self, inputs: Any, texts: Any) -> Any:
        """Return the values of the anchors; `inputs` are images and the temperature."""
        images, temperature = inputs
        return clip_loss(images, texts, temperature, self.chunk_size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config()
