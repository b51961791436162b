"""The loss of CLIP: images and texts pick each other out of the batch."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.losses._checks import check_views
from keras_ssl.losses.contrastive._contrastive_loss import ContrastiveLoss
from keras_ssl.losses.contrastive.info_nce import info_nce

NAMES = ("images", "texts")


def clip_loss(
    images: Any, texts: Any, temperature: Any = 0.07, chunk_size: int | None = None
) -> Any:
    """Symmetric cross entropy between two modalities, one value an anchor.

    Each image picks its text out of the texts of all examples, and each text its image. With s
    the cosine similarity, τ the temperature, u_i an image and v_i its text:

        l(u_i) = -log( exp(s(u_i, v_i) / τ) / Σ_k exp(s(u_i, v_k) / τ) )
        l(v_i) = -log( exp(s(v_i, u_i) / τ) / Σ_k exp(s(v_i, u_k) / τ) )

    where k runs over the examples of all replicas. The mean over all values is the paper's loss.
    CLIP learns the logarithm of 1 / τ: pass `temperature=ops.exp(-logit_scale)`.

    Args:
        images: embeddings of one modality, `(n, dim)`, floating-point. Need not be normalised.
        texts: embeddings of the other, `(n, dim)`; row i belongs to row i of `images`.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient. 0.07 is where CLIP starts.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good size. There
            are no second derivatives then.

    Returns:
        Tensor of shape `(2 * n,)`: the losses with images as anchors, then those with texts. At
        least float32.

    Raises:
        ValueError: if the shapes are not two equal `(n, dim)`, the batch over all replicas holds
            a single example, `temperature` is not finite and above 0, or `chunk_size` below 1.
        TypeError: if an input is not floating-point, or `chunk_size` not an integer.

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
    check_views(images, texts, NAMES)
    of_images = info_nce(images, texts, temperature=temperature, chunk_size=chunk_size)
    of_texts = info_nce(texts, images, temperature=temperature, chunk_size=chunk_size)
    return ops.concatenate([of_images, of_texts], axis=0)


@keras.saving.register_keras_serializable(package="keras_ssl")
class CLIPLoss(ContrastiveLoss):
    """Symmetric cross entropy between the embeddings of two modalities, the loss of CLIP.

    See `keras_ssl.losses.clip_loss` for the formula. Embeddings are normalised inside, and the
    computation is in float32 under mixed precision. Under a `tf.distribute` strategy the
    candidates are those of all replicas; as with every Keras loss, the value is then
    divided by the number of replicas.

    Args:
        temperature: float above 0, used where the call gives none.
        chunk_size: `None` stores the matrix of all similarities. An integer computes it in tiles
            of at most `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good
            size.
        reduction: as in `keras.losses.Loss`; the default is the mean over all anchors.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        images: embeddings of one modality, `(batch, dim)`, floating-point.
        texts: embeddings of the other, `(batch, dim)`; row i belongs to row i of `images`.
        sample_weight: optional weights of the anchors, `(2 * batch,)`: first those of `images`.
        temperature: optional scalar tensor or variable in place of the constructor's number, to
            be learned.

    Returns:
        A scalar, or the `(2 * batch,)` values of the anchors with `reduction=None`.

    Raises:
        ValueError: if `temperature` is not finite and above 0, `chunk_size` below 1, the shapes
            are not two equal `(batch, dim)`, or the batch over all replicas holds a single
            example.
        TypeError: if an input is not floating-point, `temperature` not a number, or `chunk_size`
            not an integer.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")
    >>> loss = losses.CLIPLoss(temperature=0.5)
    >>> round(float(loss(z, z)), 4)
    0.1269
    >>> logit_scale = keras.Variable(np.log(1 / 0.07))
    >>> round(float(loss(z, z, temperature=keras.ops.exp(-logit_scale))), 9)
    6.25e-07

    Reference:
        - [Radford et al., Learning Transferable Visual Models From Natural Language
          Supervision](https://arxiv.org/abs/2103.00020)
    """

    def __init__(
        self,
        temperature: float = 0.07,
        chunk_size: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(temperature, chunk_size, reduction, name, dtype)

    def __call__(
        self, images: Any, texts: Any, sample_weight: Any = None, temperature: Any = None
    ) -> Any:
        """Compute the loss of two modalities."""
        # before Keras casts, which would hide integers
        check_views(images, texts, NAMES)
        temperature = self.temperature if temperature is None else temperature
        temperature = checks.temperature("temperature", temperature)
        return super().__call__((images, temperature), texts, sample_weight=sample_weight)

    def call(self, inputs: Any, texts: Any) -> Any:
        """Return the values of the anchors; `inputs` are images and the temperature."""
        images, temperature = inputs
        return clip_loss(images, texts, temperature, self.chunk_size)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config()
