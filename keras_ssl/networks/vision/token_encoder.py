"""What masked methods ask of an encoder: patches in, tokens out."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras


class TokenEncoder(keras.Model):
    """Base of encoders that methods of masked images can look into: patches in, tokens out.

    `networks.vit` is one. A transformer of your own becomes one by subclassing, with three methods
    that `call` may use too:

    - `grid(shape)`: the numbers of rows and columns of patches of images of a shape.
    - `embed(images)`: the patches as tokens `(batch, patches, width)`, without positions. A method
      replaces some of them by a mask token, or leaves them out.
    - `encode(tokens, grid, indices=None, attention_mask=None, training=None)`: adds positions and
      other tokens, such as a class token, and runs the transformer. It returns a dictionary with
      `"features"`, `(batch, features)`, as `call` returns them; `"patch_tokens"`, the outputs
      `(batch, tokens, width)` of the tokens that it got; and, if it has them, `"class_token"`,
      `(batch, width)`, and `"blocks"`, the list of all tokens after each block.

    `indices` are the numbers `(batch, tokens)` of the patches that the tokens are of, in the order
    of rows, when some are left out; `attention_mask`, booleans `(tokens, tokens)`, says which
    tokens a token may attend to. Where an encoder cannot do this, `encode` has no such argument,
    and a method that needs it refuses the encoder.

    Attributes:
        patch_size: `(height, width)` of a patch, in pixels.
        extra_tokens: number of tokens before those of the patches in `"blocks"`.

    Example:

    A network without attention, which mixes tokens by a dense layer:

    >>> import keras, numpy as np, keras_ssl
    >>> class Mixer(keras_ssl.networks.TokenEncoder):
    ...     patch_size = (4, 4)
    ...
    ...     def __init__(self, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.patches = keras_ssl.layers.PatchEmbedding(4, width=16)
    ...         self.mixing = keras.layers.Dense(16)
    ...
    ...     def grid(self, shape):
    ...         return self.patches.grid(shape)
    ...
    ...     def embed(self, images):
    ...         return self.patches(images)
    ...
    ...     def encode(self, tokens, grid, training=None):
    ...         tokens = tokens + self.mixing(keras.ops.mean(tokens, axis=1, keepdims=True))
    ...         return {"features": keras.ops.mean(tokens, axis=1), "patch_tokens": tokens}
    >>> Mixer()(np.ones((2, 8, 8, 3), "float32")).shape
    TensorShape([2, 16])
    """

    patch_size: tuple[int, int]
    extra_tokens = 0

    def grid(self, shape: tuple) -> tuple[int, int]:
        """Return the numbers of rows and columns of patches.

        Args:
            shape: shape of a batch of images, `(batch, height, width, channels)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `grid(shape)`.")

    def embed(self, images: Any) -> Any:
        """Return the patches as tokens, without positions.

        Args:
            images: `(batch, height, width, channels)`.

        Returns:
            Tensor `(batch, patches, width)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `embed(images)`.")

    def encode(self, tokens: Any, grid: tuple[int, int], **arguments: Any) -> dict[str, Any]:
        """Return what the transformer makes of tokens.

        Args:
            tokens: `(batch, tokens, width)`, as `embed` returns them.
            grid: the numbers of rows and columns of patches of the whole image.
            **arguments: `indices`, `attention_mask` and `training`, as above.

        Returns:
            Dictionary of `"features"`, `"patch_tokens"` and others, as above.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `encode(tokens, grid)`.")

    def call(
        self, inputs: Any, return_intermediates: bool = False, training: bool | None = None
    ) -> Any:
        """Return the features of images, or all that `encode` returns."""
        outputs = self.encode(self.embed(inputs), self.grid(inputs.shape), training=training)
        return outputs if return_intermediates else outputs["features"]


def token_encoder(encoder: keras.layers.Layer, needs: Sequence[str] = ()) -> TokenEncoder:
    """Return an encoder as a `TokenEncoder` that can do what a method needs.

    Args:
        encoder: a `TokenEncoder`, such as `networks.vit`.
        needs: names of arguments of `encode` that the method uses, such as `"indices"`.

    Returns:
        The `TokenEncoder`.

    Raises:
        TypeError: if `encoder` is none, or its `encode` lacks one of the arguments.

    Example:

    >>> from keras_ssl import networks
    >>> encoder = networks.vit((16, 2, 4), input_shape=(8, 8, 3), patch_size=4)
    >>> networks.token_encoder(encoder, needs=["indices"]) is encoder
    True
    """
    if not isinstance(encoder, TokenEncoder):
        raise TypeError(
            "`encoder` must be a `keras_ssl.networks.TokenEncoder`, such as `networks.vit(...)`, "
            "since the method hides patches from it. "
            f"Received: encoder={encoder!r} of type {type(encoder)}"
        )
    known = inspect.signature(encoder.encode).parameters
    if missing := [name for name in needs if name not in known]:
        raise TypeError(
            f"The method calls `encoder.encode` with {sorted(missing)}, which {encoder.name!r} "
            f"does not take. Received: encoder={encoder!r}, whose `encode` takes {list(known)}"
        )
    return encoder
