"""CLIP and SigLIP: images and the texts that describe them."""

from typing import Any

import keras

from keras_ssl import layers, losses
from keras_ssl.trainers.multimodal.cross_modal import CrossModal
from keras_ssl.trainers.parts import serialize_parts


@keras.saving.register_keras_serializable(package="keras_ssl")
class CLIP(CrossModal):
    r"""CLIP: contrastive learning of images and texts.

    An encoder of images and one of texts learn to tell, among all pairs of a batch over all
    replicas, which text belongs to which image. With u_i and v_i the vectors of image and text i:

        L = -1/2n Σ_i [ log( exp(cos(u_i, v_i) / τ) / Σ_k exp(cos(u_i, v_k) / τ) )
                      + log( exp(cos(v_i, u_i) / τ) / Σ_k exp(cos(v_i, u_k) / τ) ) ]

    τ is learned and at least 0.01. Then images are found by texts and texts by images, and images
    are classified by texts that name the classes.

    Large batches fit in memory by `compile(micro_batch_size=...)`, which computes the gradient of
    the whole batch, and by `losses.CLIPLoss(chunk_size=...)`, which stores no matrix of all
    similarities.

    Args:
        encoder: `keras.Model` or layer that maps images to `(batch, features)`, such as
            `networks.vit`.
        text_encoder: `keras.Model` or layer that maps texts to `(batch, features)`, such as
            `networks.text_transformer`.
        width: width of the shared space, to which a linear layer maps the features of each
            encoder. `None` compares the features as they are.
        augment: layer that makes one random view of a batch of images, or `None`.
        loss: loss called `loss(images, texts, temperature=...)` on two batches of vectors, with
            `group_ids` if the data have them. `None` means `losses.CLIPLoss()`, of which the
            temperature is not used.
        logit_scale: `layers.LogitScale` that the temperature is learned by. `None` means that of
            the paper, which starts from 0.07.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of images, or of pairs, of which the images are taken.
        training: whether the encoder runs in training mode.

    Input shape:
        A dictionary of `"image"` and `"text"`, each what its encoder takes. With a third key,
        `"group_ids"`, integers `(batch,)`, pairs of the same number match each other, such as
        images with the same caption; see `trainers.CrossModal`.

    Output shape:
        `(batch, features)`, the output of `encoder`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; before the first step, if the data are no
            dictionary of images and texts, the vectors of both have different widths, a text holds
            no tokens or one outside of the vocabulary, or a batch holds a single pair.

    Example:

    >>> import numpy as np, keras_ssl
    >>> trainer = keras_ssl.trainers.CLIP(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     text_encoder=keras_ssl.networks.text_transformer((16, 1, 2), 50, max_length=8),
    ...     width=16,
    ... )
    >>> trainer.compile("adam")
    >>> rng = np.random.default_rng(0)
    >>> x = {"image": rng.random((16, 28, 28, 1)), "text": rng.integers(50, size=(16, 8))}
    >>> history = trainer.fit(x, batch_size=8, verbose=0)
    >>> images, texts = (trainer.tower(name).predict(x[name], verbose=0) for name in x)
    >>> (images @ texts.T).shape  # cosines
    (16, 16)

    Reference:
        - [Radford et al., Learning Transferable Visual Models From Natural Language
          Supervision](https://arxiv.org/abs/2103.00020)
    """

    learns_from = "pairs of an image and a text"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        text_encoder: keras.layers.Layer,
        width: int | None = 512,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        logit_scale: layers.LogitScale | None = None,
        **kwargs: Any,
    ):
        names = ("image", "text")
        super().__init__(encoder, text_encoder, width, names, augment, loss, logit_scale, **kwargs)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        config = super().get_config()
        del config["names"], config["other_encoder"]
        return {**config, **serialize_parts(text_encoder=self.other_encoder)}


@keras.saving.register_keras_serializable(package="keras_ssl")
class SigLIP(CLIP):
    r"""SigLIP: images and texts, by a sigmoid for each pair.

    As CLIP, but whether text k belongs to image i is asked for each pair i and k alone, without a
    softmax over the batch. With z_ik = 1 where they belong together and -1 elsewhere:

        L = -1/n Σ_i Σ_k log σ( z_ik (cos(u_i, v_k) / τ + b) )

    τ and the bias b are learned, from 0.1 and -10.

    Args:
        encoder: `keras.Model` or layer that maps images to `(batch, features)`.
        text_encoder: `keras.Model` or layer that maps texts to `(batch, features)`.
        width: width of the shared space, to which a linear layer maps the features of each
            encoder. `None` compares the features as they are.
        augment: layer that makes one random view of a batch of images, or `None`.
        loss: loss called `loss(images, texts, temperature=..., bias=...)`. `None` means
            `losses.SigLIPLoss()`, of which temperature and bias are not used.
        logit_scale: `layers.LogitScale` that τ and b are learned by. `None` means that of the
            paper, without a limit.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of images, or of pairs, of which the images are taken.
        training: whether the encoder runs in training mode.

    Input shape:
        As of `trainers.CLIP`.

    Output shape:
        `(batch, features)`, the output of `encoder`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: as `trainers.CLIP`, or if `logit_scale` has no bias.

    Example:

    >>> import numpy as np, keras_ssl
    >>> trainer = keras_ssl.trainers.SigLIP(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     text_encoder=keras_ssl.networks.bert((16, 1, 2), 50, max_length=8, pooling="mean"),
    ...     width=16,
    ... )
    >>> trainer.compile("adam")
    >>> rng = np.random.default_rng(0)
    >>> x = {"image": rng.random((16, 28, 28, 1)), "text": rng.integers(50, size=(16, 8))}
    >>> history = trainer.fit(x, batch_size=8, verbose=0)
    >>> trainer.predict(x["image"], verbose=0).shape
    (16, 32)

    Reference:
        - [Zhai et al., Sigmoid Loss for Language Image Pre-Training](
          https://arxiv.org/abs/2303.15343)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        text_encoder: keras.layers.Layer,
        width: int | None = 512,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        logit_scale: layers.LogitScale | None = None,
        **kwargs: Any,
    ):
        loss = losses.SigLIPLoss() if loss is None else loss
        if logit_scale is None:
            logit_scale = layers.LogitScale(0.1, max_scale=None, bias=-10.0)
        if isinstance(logit_scale, layers.LogitScale) and logit_scale.bias is None:
            raise ValueError(
                "`logit_scale` of SigLIP must have a bias, such as `layers.LogitScale(0.1, "
                "max_scale=None, bias=-10.0)`. Received: one without"
            )
        super().__init__(encoder, text_encoder, width, augment, loss, logit_scale, **kwargs)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
