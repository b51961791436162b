"""Tokenizers of images: patches to the numbers of codes."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers import VectorQuantizer
from keras_ssl.networks.vision.token_encoder import TokenEncoder, token_encoder


@keras.saving.register_keras_serializable(package="keras_ssl")
class PatchTokenizer(keras.Model):
    """Images to the number of the nearest code of each patch, the product of `trainers.VQKD`.

        token[i] = quantizer(projector(encoder(image)[i]))

    Args:
        encoder: `networks.TokenEncoder`, such as `networks.vit(...)`.
        projector: layer that maps the encoder's outputs of patches to vectors as wide as a code.
        quantizer: `layers.VectorQuantizer`. It learns in `trainers.VQKD`, not when the tokenizer is
            called.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: images.

    Input shape:
        `(batch, height, width, channels)`, as the encoder takes them.

    Output shape:
        int32 `(batch, patches)`.

    Raises:
        TypeError: if a part has the wrong type.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import layers, networks
    >>> tokenizer = networks.PatchTokenizer(
    ...     networks.vit((16, 1, 2), (8, 8, 3), patch_size=4),
    ...     projector=keras.layers.Dense(4),
    ...     quantizer=layers.VectorQuantizer(codes=8, similarity="cosine"),
    ... )
    >>> tokenizer(np.zeros((2, 8, 8, 3))).shape
    TensorShape([2, 4])

    Reference:
        - [Peng et al., BEiT v2](https://arxiv.org/abs/2208.06366)
    """

    def __init__(
        self,
        encoder: TokenEncoder,
        projector: keras.layers.Layer,
        quantizer: VectorQuantizer,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.encoder = token_encoder(encoder)
        for name, part, kind in (
            ("projector", projector, keras.layers.Layer),
            ("quantizer", quantizer, VectorQuantizer),
        ):
            if not isinstance(part, kind):
                raise TypeError(
                    f"`{name}` must be a Keras {kind.__name__}. Received: {part} of type "
                    f"{type(part)}"
                )
        self.projector = projector
        self.quantizer = quantizer

    @property
    def codes(self) -> int:
        """The number of codes."""
        return self.quantizer.codes

    def grid(self, shape: tuple) -> tuple[int, int]:
        """Return the numbers of rows and columns of patches of images of a shape."""
        return self.encoder.grid(shape)

    def project(self, images: Any, training: bool = False) -> tuple[dict[str, Any], Any]:
        """Return what is quantized.

        Args:
            images: `(batch, height, width, channels)`.
            training: whether the networks run in training mode.

        Returns:
            The dictionary of the encoder, and vectors `(batch, rows, columns, width of a code)`.
        """
        grid = self.grid(images.shape)
        outputs = self.encoder.encode(self.encoder.embed(images), grid, training=training)
        vectors = self.projector(outputs["patch_tokens"], training=training)
        return outputs, ops.reshape(vectors, (-1, *grid, vectors.shape[-1]))

    def call(self, inputs: Any) -> Any:
        _, vectors = self.project(inputs)
        _, numbers, _ = self.quantizer(vectors, training=False)
        rows, columns = vectors.shape[1:3]
        return ops.reshape(numbers, (-1, rows * columns))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = {name: getattr(self, name) for name in ("encoder", "projector", "quantizer")}
        serialize = keras.saving.serialize_keras_object
        config = {name: serialize(part) for name, part in parts.items()}
        return {**keras.layers.Layer.get_config(self), **config}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "PatchTokenizer":
        """Make the tokenizer that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))
