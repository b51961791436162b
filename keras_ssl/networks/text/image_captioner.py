"""A captioner: any encoder of images, and a recurrent decoder of text."""

from typing import Any

import keras
from keras import ops

from keras_ssl.networks.text._recurrent_pairs import RecurrentPairNetwork


@keras.saving.register_keras_serializable(package="keras_ssl")
class ImageCaptioner(RecurrentPairNetwork):
    r"""Encoder of images and recurrent decoder of captions, with attention to places of the image.

    A dense layer makes a token of `width` features of each vector that the encoder returns: one of
    an image, or one of each place of a feature map. The decoder's first state is made of the mean
    of these tokens. With e_t the embedding of the caption's token, h_t the state, s_j the tokens of
    the image, α the softmax of the scores over j, and o_t what `logits` are made of:

        attention="additive", as in Show, Attend and Tell
            a_tj = v · tanh(W h_t-1 + U s_j),   c_t = Σ_j α_tj s_j,   h_t = cell([e_t, c_t], h_t-1)
        attention="multiplicative"
            h_t = cell(e_t, h_t-1),   a_tj = h_t W s_j,   c_t = Σ_j α_tj s_j
        of both
            o_t = tanh(V [h_t, c_t])
        attention=None: the decoder sees the image in its first state alone, much as in Show and
        Tell, where the image is the first input
            h_t = cell(e_t, h_t-1),   o_t = h_t

    If the encoder returns one vector, attention gives it to the decoder at each step. Captions
    begin with a start token and end with an end token. It learns by `trainers.Seq2Seq` from images
    as sources and token ids of captions as targets, and writes by `decoding.decode`, with images as
    the context.

    Args:
        encoder: `keras.Model` from images to features `(batch, features)`, `(batch, positions,
            features)` or `(batch, height, width, features)`, whose `output_shape` is known: any
            functional model. Around another layer make one, `keras.Model(inputs, layer(inputs))`.
            It is trained too unless its `trainable` is `False`.
        vocabulary_size: number of token ids.
        width: number of features of a token, and units of the decoder.
        cell: `"lstm"`, `"gru"`, `"minimal_gru"` or `"rnn"`.
        attention: `"additive"`, `"multiplicative"`, or `None` for none.
        dropout_rate: dropout rate of the image's features, of the embeddings and of o.
        seed: integer seed of dropout and of the initial weights.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: images; or, for the features of captions, a dictionary of images as
            `"encoder_images"`, token ids as `"decoder_token_ids"` and, if there is padding,
            `"decoder_padding_mask"`.
        return_intermediates: whether to return all that `encode` or `decode` returns.
        training: whether to run in training mode.

    Input shape:
        What the encoder takes, such as `(batch, height, width, channels)`. Integers are cast to
        float32; no pixel is rescaled. Captions are integers `(batch, length)`.

    Output shape:
        Of images `(batch, width)`, the mean of their tokens; of captions `(batch, length, width)`.

    Raises:
        TypeError: if `encoder` is no Keras model, or a number is not an integer.
        ValueError: if the encoder's output shape is not known or not one of the above, an argument
            is out of range, or inputs do not fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import decoding, networks
    >>> encoder = networks.conv_encoder((16, 16, 3), (8, 16), channels=16)  # a feature map
    >>> model = networks.ImageCaptioner(encoder, vocabulary_size=100, width=32)
    >>> images, captions = np.zeros((2, 16, 16, 3), "uint8"), np.array([[2, 40, 41], [2, 7, 8]])
    >>> features = model({"encoder_images": images, "decoder_token_ids": captions})
    >>> model.logits(features).shape  # of the token behind each
    TensorShape([2, 3, 100])
    >>> decoding.decode(model, [[2]] * 2, max_new_tokens=5, context=images).token_ids.shape
    (2, 6)

    Reference:
        - [Vinyals et al., Show and Tell](https://arxiv.org/abs/1411.4555)
        - [Xu et al., Show, Attend and Tell](https://arxiv.org/abs/1502.03044), soft attention
    """

    source_keys = ("images",)

    def __init__(
        self,
        encoder: keras.Model,
        vocabulary_size: int,
        width: int,
        *,
        cell: str = "lstm",
        attention: str | None = "additive",
        dropout_rate: float = 0.1,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            vocabulary_size,
            width,
            cell=cell,
            attention=attention,
            dropout_rate=dropout_rate,
            seed=seed,
            **kwargs,
        )
        shape = _output_shape_of(encoder)
        self.encoder = encoder
        seeds = self._seeds()
        self._make_dropouts(1, seeds)
        self.flatten = keras.layers.Reshape((-1, shape[-1]), name="positions")
        self.projection = self._make_dense("projection", seeds)
        self._make_decoder(seeds, has_choice=len(shape) > 2)
        self.projection.build((None, None, shape[-1]))
        self.build(None)

    def build(self, input_shape: Any) -> None:
        self._build_decoder()
        self.built = True

    def as_source(self, x: Any) -> dict[str, Any]:
        """Return images as a dictionary with `"images"`, if the encoder can take them.

        Args:
            x: a batch of images, or a dictionary of them as `"images"`.

        Raises:
            ValueError: if there is something else in a dictionary, images are no numbers, or their
                shape is not that of the encoder's input.
        """
        given = dict(x) if isinstance(x, dict) else {"images": x}
        if set(given) != {"images"}:
            raise ValueError(
                "Images must be an array, or a dictionary with 'images' alone. "
                f"Received: a dictionary of {sorted(given)}"
            )
        images, expected = given["images"], tuple(self.encoder.input_shape)
        shape = getattr(images, "shape", None)
        shape = None if shape is None else tuple(shape)
        dtype = None if shape is None else keras.backend.standardize_dtype(images.dtype)
        is_number = shape is not None and (
            keras.backend.is_float_dtype(dtype) or keras.backend.is_int_dtype(dtype)
        )
        if not is_number or not _fits(shape, expected):
            found = type(images).__name__ if shape is None else f"{dtype} {shape}"
            raise ValueError(f"Images must be numbers of shape {expected}. Received: {found}")
        return given

    def read(self, inputs: Any) -> Any:
        """Return images as a tensor of floats, checked as by `as_source`.

        Args:
            inputs: as `encode` takes them.
        """
        images = self.as_source(inputs)["images"]
        if isinstance(images, keras.KerasTensor):
            dtype = images.dtype
        else:
            images = ops.convert_to_tensor(images)
            dtype = keras.backend.standardize_dtype(images.dtype)
        return ops.cast(images, "float32") if keras.backend.is_int_dtype(dtype) else images

    def encode(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Return the features of images, and their tokens.

        Args:
            inputs: images, or a dictionary of them as `"images"`.
            training: whether to run in training mode.

        Returns:
            Dictionary of

            - `"features"`: `(batch, width)`, the mean of the tokens; also as `"pooled"`.
            - `"tokens"`: `(batch, positions, width)`, the context of the decoder, the places of a
              feature map row by row.
        """
        x = self.encoder(self.read(inputs), training=training)
        tokens = self.projection(self.dropouts[0](self.flatten(x), training=training))
        pooled = ops.mean(tokens, axis=1)
        return {"features": pooled, "pooled": pooled, "tokens": tokens}

    def compute_output_shape(self, input_shape: Any) -> tuple:
        """Return the shape of the features of inputs of a shape."""
        if isinstance(input_shape, dict) and "decoder_token_ids" in input_shape:
            return super().compute_output_shape(input_shape)
        shape = input_shape["images"] if isinstance(input_shape, dict) else input_shape
        return (shape[0], self.width)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the encoder serialised."""
        encoder = keras.saving.serialize_keras_object(self.encoder)
        return {**super().get_config(), **self._arguments, "encoder": encoder}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "ImageCaptioner":
        """Make the network that `config` describes."""
        encoder = keras.saving.deserialize_keras_object(
            config["encoder"], custom_objects=custom_objects
        )
        return super().from_config({**config, "encoder": encoder})


def _output_shape_of(encoder: Any) -> tuple:
    """Return the shape of the features that an encoder returns, checked."""
    if not isinstance(encoder, keras.Model):
        raise TypeError(
            "`encoder` must be a `keras.Model` from images to features, such as "
            f"`networks.resnet18(...)`. Received: encoder={encoder!r} of type {type(encoder)}"
        )
    try:
        shape = encoder.output_shape
    except AttributeError as error:  # neither functional nor built as one
        raise ValueError(
            "`encoder` must be a model whose output shape is known. Expected a functional model, "
            "which `keras.Model(inputs, layer(inputs))` makes of another, with `inputs` of "
            f"`keras.Input`. Received: encoder={encoder!r}"
        ) from error
    if not _is_one(shape) or len(shape) not in (2, 3, 4) or shape[-1] is None:
        raise ValueError(
            "`encoder` must return features (batch, features), (batch, positions, features) or "
            f"(batch, height, width, features). Received: an encoder that returns {shape}"
        )
    if not _is_one(encoder.input_shape):
        raise ValueError(
            "`encoder` must have one input, of images. "
            f"Received: an encoder of inputs {encoder.input_shape}"
        )
    return shape


def _is_one(shape: Any) -> bool:
    """Return whether a shape is that of one tensor, and not a structure of shapes."""
    return isinstance(shape, tuple) and all(isinstance(one, int | None) for one in shape)


def _fits(shape: tuple, expected: tuple) -> bool:
    """Return whether a shape is one that is expected, where `None` is any number."""
    return len(shape) == len(expected) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape[1:], expected[1:], strict=True)
    )
