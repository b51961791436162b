"""What methods on text ask of an encoder: token ids in, a vector for each token out."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl.networks.text import _lora
from keras_ssl.networks.text._inputs import KEYS, TextInputs, read_inputs


class TextEncoder(keras.Model):
    """Base of encoders of text: token ids in, a vector for each token out.

    `networks.bert`, `networks.gpt2` and `networks.RecurrentEncoder` are such. Inputs are integers
    `(batch, length)`, or a dictionary, whose keys are those of KerasHub's backbones and one more:

    | Key | Holds, `(batch, length)` |
    | --- | --- |
    | `"token_ids"` | integers, the token ids |
    | `"padding_mask"` | booleans or integers, 0 for padding, which is not attended to |
    | `"segment_ids"` | integers, the sentence of each token, if the encoder has segments |
    | `"document_ids"` | integers, the document of each token, where a row holds several |

    Tokens attend to their own document only, and positions start again in each, so packed documents
    have the features that they have alone.

    To use a network of your own, write a subclass with one method, `encode(inputs, training=None)`.
    It returns a dictionary with `"tokens"`, `(batch, length, width)`; `"pooled"`, `(batch, width)`;
    `"features"`, one of the two, which `call` returns; and, if it has them, `"blocks"`, the list of
    all tokens after each block.

    Args:
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Attributes:
        vocabulary_size: number of token ids.
        width: number of features of a token.
        token_embedding: the `keras.layers.ReversibleEmbedding` of the token ids.

    Example:

    A network without attention, which adds the mean of all tokens:

    >>> import keras, numpy as np, keras_ssl
    >>> class Mixer(keras_ssl.networks.TextEncoder):
    ...     vocabulary_size, width = 100, 16
    ...
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.token_embedding = keras.layers.ReversibleEmbedding(100, 16)
    ...
    ...     def encode(self, inputs, training=None):
    ...         x = self.token_embedding(self.read(inputs).token_ids)
    ...         pooled = keras.ops.mean(x, axis=1)
    ...         return {"features": pooled, "pooled": pooled, "tokens": x + pooled[:, None]}
    >>> Mixer()(np.ones((2, 7), "int32")).shape
    TensorShape([2, 16])
    """

    vocabulary_size: int
    width: int
    max_length: int | None = None
    segments: int | None = None
    pooling: str | None = None
    token_embedding: keras.layers.ReversibleEmbedding

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

    def read(self, inputs: Any) -> TextInputs:
        """Return inputs as tensors `token_ids`, `padding_mask`, `segment_ids` and `document_ids`.

        Args:
            inputs: as `call` takes them. Where values are known, outside of compiled functions,
                they are checked.

        Raises:
            ValueError: if a key is unknown, shapes differ, a number is outside of the vocabulary,
                or there are more tokens than positions.
        """
        keys = KEYS if self.segments is not None else tuple(k for k in KEYS if k != "segment_ids")
        return read_inputs(inputs, keys, self.vocabulary_size, self.max_length, self.segments)

    def encode(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Return the features of tokens and of sequences, and what led to them.

        Args:
            inputs: as `call` takes them.
            training: whether to apply dropout.

        Returns:
            Dictionary of `"features"`, `"tokens"`, `"pooled"` and others, as above.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `encode(inputs)`.")

    def call(
        self, inputs: Any, return_intermediates: bool = False, training: bool | None = None
    ) -> Any:
        """Return the features of token ids, or all that `encode` returns."""
        outputs = self.encode(inputs, training=training)
        return outputs if return_intermediates else outputs["features"]

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        target_layer_names: Sequence[str] = ("attention",),
    ) -> None:
        """Freeze the weights, and learn updates of low rank of the kernels of some layers.

        Each of these layers has Keras' `enable_lora`: dense layers, and
        `layers.MultiHeadAttention`, which adapts queries and values. A saved network is loaded with
        its updates.

        Args:
            rank: rank of the updates.
            lora_alpha: updates are scaled by `lora_alpha / rank`; `rank` by default.
            target_layer_names: names of the layers: of the blocks, `"attention"`, and `"hidden"`
                and `"outputs"` of the feed-forward networks.

        Raises:
            ValueError: if there is no such layer, or LoRA is enabled already.

        Reference:
            - [Hu et al., LoRA](https://arxiv.org/abs/2106.09685)
        """
        _lora.enable_lora(self, rank, lora_alpha, tuple(target_layer_names))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        """Return the shape of the features of token ids of a shape."""
        shape = input_shape["token_ids"] if isinstance(input_shape, dict) else input_shape
        return (*shape, self.width) if self.pooling is None else (shape[0], self.width)

    def compute_output_spec(
        self, inputs: Any, return_intermediates: bool = False, training: bool | None = None
    ) -> Any:
        """Return the features of symbolic inputs, without computing them."""
        if return_intermediates:
            return keras.Operation.compute_output_spec(
                self, inputs, return_intermediates=True, training=training
            )
        self.read(inputs)
        shape = keras.tree.map_structure(lambda one: tuple(one.shape), inputs)
        return keras.KerasTensor(self.compute_output_shape(shape), dtype=self.compute_dtype)

    def get_config(self) -> dict:
        """Return the arguments of Keras, and where LoRA is enabled; subclasses add their own."""
        return {**keras.layers.Layer.get_config(self), **_lora.lora_of(self)}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "TextEncoder":
        """Make the network that `config` describes."""
        config = dict(config)
        lora = config.pop("lora", None)
        made = cls(**config)
        _lora.enable_again(made, lora)
        return made


def pool(
    tokens: Any,
    padding_mask: Any,
    pooling: str,
    token_ids: Any = None,
    end_token: int | None = None,
) -> Any:
    """Return one token, or the mean of those that are no padding, `(batch, width)`.

    Args:
        tokens: `(batch, length, width)`.
        padding_mask: booleans `(batch, length)`, or `None`.
        pooling: `"class"` for the first token, `"last"` for the last one that is no padding,
            `"end"` for the first one whose id is `end_token`, or `"mean"`.
        token_ids: int32 `(batch, length)`, for `"end"`.
        end_token: id of the token at the end of a text, or `None` for the largest one of each.
    """
    if pooling == "class":
        return tokens[:, 0]
    if pooling == "end":
        ends = _ends(token_ids, padding_mask, end_token)
        return ops.take_along_axis(tokens, ends[:, None, None], axis=1)[:, 0]
    if padding_mask is None:
        return tokens[:, -1] if pooling == "last" else ops.mean(tokens, axis=1)
    if pooling == "last":
        last = _last(padding_mask)
        return ops.take_along_axis(tokens, last[:, None, None], axis=1)[:, 0]
    counted = ops.cast(padding_mask, "float32")  # half precision cannot count this far
    shares = counted / ops.maximum(ops.sum(counted, axis=1, keepdims=True), 1)
    return ops.sum(tokens * ops.cast(shares, tokens.dtype)[:, :, None], axis=1)


def _last(mask: Any) -> Any:
    """Return int32 `(batch,)`: the place of the last token of each text that is no padding."""
    places = ops.arange(ops.shape(mask)[1], dtype="int32")
    return ops.max(ops.where(mask, places[None], 0), axis=1)


def _ends(token_ids: Any, padding_mask: Any, end_token: int | None) -> Any:
    """Return int32 `(batch,)`: the place of the end of each text, or of its last token."""
    if padding_mask is None:
        padding_mask = ops.ones_like(token_ids, dtype="bool")
    ids = ops.where(padding_mask, token_ids, -1)
    is_end = ids == (ops.max(ids, axis=1, keepdims=True) if end_token is None else end_token)
    first = ops.cast(ops.argmax(ops.cast(is_end, "int32"), axis=1), "int32")
    return ops.where(ops.any(is_end, axis=1), first, _last(padding_mask))
