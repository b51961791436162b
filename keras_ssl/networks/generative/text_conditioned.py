"""Denoisers that are told token ids, which a text encoder makes features of."""

from typing import Any

import keras
from keras import ops

from keras_ssl.networks.text.text_encoder import TextEncoder


def text_conditioned(
    denoiser: keras.Model, text_encoder: keras.layers.Layer, name: str = "text_conditioned"
) -> keras.Model:
    """Build a denoiser that is told texts, as token ids, by a text encoder in front of another one.

    The text encoder makes a vector of each token, and the positions of `denoiser` attend to them
    by cross-attention, but for padding. It learns with the denoiser; with
    `text_encoder.trainable = False`, set before, it stays as it is and runs in inference mode. Of
    an encoder that stays as it is, features can be computed once instead of at each step: see the
    documentation of `trainers.LatentDiffusion`.

    A text whose ids are all 0, as diffusion trainers pass for a condition that is left out, is no
    text: the denoiser gets zeros in the place of its features, whatever the encoder says to it.

    The network is called on the dictionary that `denoiser` takes, with ids in place of features:

    - `"tokens"`: int32 `(batch, tokens)`, token ids.
    - `"tokens_mask"`: booleans `(batch, tokens)`, `False` for padding, if `denoiser` takes one.
    - the others as they are.

    Args:
        denoiser: functional `keras.Model` that takes `"tokens"` `(batch, tokens, dim)`, such as
            `networks.diffusion_unet(token_dim=..., tokens_mask=True)` or `networks.dit`.
        text_encoder: `networks.TextEncoder`, such as `networks.text_transformer`, of which the
            features of all tokens are taken whatever its pooling; or a Keras layer that maps token
            ids to `(batch, tokens, dim)`. If `denoiser` takes a mask, it is called on a dictionary
            of `"token_ids"` and `"padding_mask"`, as KerasHub's backbones are.
        name: name of the model.

    Returns:
        `keras.Model` from the dictionary to the output of `denoiser`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `denoiser` takes no tokens, or tokens of another width than the text encoder
            returns.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> denoiser = networks.text_conditioned(
    ...     networks.diffusion_unet((8, 8, 4), (16,), 1, (0,), token_dim=32, tokens_mask=True),
    ...     networks.text_transformer((32, 1, 2), vocabulary_size=50, max_length=6),
    ... )
    >>> denoiser(
    ...     {
    ...         "x": np.zeros((2, 8, 8, 4)),
    ...         "time": np.array([0.0, 999.0]),
    ...         "tokens": np.array([[2, 17, 3, 0], [2, 9, 21, 3]]),
    ...         "tokens_mask": np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool),
    ...     }
    ... ).shape
    TensorShape([2, 8, 8, 4])

    Reference:
        - [Rombach et al., High-Resolution Image Synthesis with Latent Diffusion
          Models](https://arxiv.org/abs/2112.10752), section 3.3
    """
    if not isinstance(denoiser, keras.Model):
        raise TypeError(f"`denoiser` must be a `keras.Model`. Received: denoiser={denoiser!r}")
    if not isinstance(text_encoder, keras.layers.Layer):
        raise TypeError(
            f"`text_encoder` must be a Keras layer. Received: text_encoder={text_encoder!r}"
        )
    taken = getattr(denoiser, "input", None)
    if not isinstance(taken, dict) or "tokens" not in taken:
        raise ValueError(
            "`denoiser` must be a functional model that takes 'tokens', such as "
            "`networks.diffusion_unet(token_dim=...)`. Received: "
            f"{sorted(taken) if isinstance(taken, dict) else 'a model of other inputs'}"
        )
    inputs = {
        key: keras.Input(one.shape[1:], dtype=one.dtype, name=key) for key, one in taken.items()
    }
    inputs["tokens"] = keras.Input((None,), dtype="int32", name="tokens")
    masks = [inputs["tokens_mask"]] if "tokens_mask" in inputs else []
    tokens = _TextTokens(text_encoder, name="text_tokens")(inputs["tokens"], *masks)
    wanted, found = taken["tokens"].shape, tokens.shape
    if len(found) != 3 or found[-1] != wanted[-1]:
        raise ValueError(
            f"`text_encoder` must return the tokens that `denoiser` takes, {tuple(wanted)}. "
            f"Received: an encoder that returns shape {tuple(found)}"
        )
    return keras.Model(inputs, denoiser({**inputs, "tokens": tokens}), name=name)


@keras.saving.register_keras_serializable(package="keras_ssl")
class _TextTokens(keras.layers.Layer):
    """Features of all tokens of texts, zeros for a text whose ids are all 0.

    Args:
        text_encoder: as of `text_conditioned`.
        **kwargs: `name`, `dtype` of the layer.
    """

    def __init__(self, text_encoder: keras.layers.Layer, **kwargs: Any):
        super().__init__(**kwargs)
        self.text_encoder = text_encoder
        self._freeze()

    def _freeze(self) -> None:
        """Pass the flag of a frozen encoder on to its parts, which a loaded one does not do."""
        if not self.text_encoder.trainable:
            self.text_encoder.trainable = True  # it is passed on only where it changes
            self.text_encoder.trainable = False

    def build(self, ids_shape: tuple, mask_shape: tuple | None = None) -> None:
        if not self.text_encoder.built:
            self.text_encoder.build(ids_shape)
            self._freeze()

    def call(self, ids: Any, mask: Any = None, training: bool | None = None) -> Any:
        inputs = ids if mask is None else {"token_ids": ids, "padding_mask": mask}
        encoder = self.text_encoder
        training = bool(training) and encoder.trainable  # one that stays as it is drops nothing
        if isinstance(encoder, TextEncoder):
            tokens = encoder.encode(inputs, training=training)["tokens"]
        else:
            tokens = encoder(inputs, training=training)
        is_text = ops.any(ops.not_equal(ids, 0), axis=1)[:, None, None]
        return ops.where(is_text, tokens, ops.zeros_like(tokens))

    def get_config(self) -> dict:
        encoder = keras.saving.serialize_keras_object(self.text_encoder)
        return {**super().get_config(), "text_encoder": encoder}

    @classmethod
    def from_config(cls, config: dict) -> "_TextTokens":
        return cls(**keras.saving.deserialize_keras_object(config))
