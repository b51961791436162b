"""What masked methods ask of an encoder: patches in, tokens out."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class TokenEncoder(keras.Model):
    """Base of encoders for methods of masked images: patches in, tokens out.

    `networks.vit` is one. To use a transformer of your own, write a subclass with three methods,
    which `call` may use too:

    - `grid(shape)`: the numbers of rows and columns of patches of images of a shape.
    - `embed(images)`: the patches as tokens `(batch, patches, width)`, without positions. A method
      replaces some of them by a mask token, or leaves them out.
    - `encode(tokens, grid, indices=None, attention_mask=None, training=None)`: adds positions and
      other tokens, such as a class token, and runs the transformer. It returns a dictionary with
      `"features"`, `(batch, features)`, as `call` returns them; `"patch_tokens"`, the outputs
      `(batch, tokens, width)` of the tokens that it got; and, if it has them, `"class_token"`,
      `(batch, width)`, and `"blocks"`, the list of all tokens after each block.

    `indices` are the numbers `(batch, tokens)` of the patches that the tokens are of, in the order
    of rows, when some are left out; `attention_mask`, booleans `(tokens, tokens)` or
    `(batch, tokens, tokens)`, says which tokens a token may attend to. The `encode` of an encoder
    that cannot do this has no such argument, and methods that need it refuse the encoder.

    Args:
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

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

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

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


class _HubEncoder(TokenEncoder):
    """A vision transformer of KerasHub, taken apart. It shares the weights of the backbone.

    The blocks take no mask of attention, and the positions are those of images of one size.
    """

    def __init__(self, backbone: keras.Model, **kwargs: Any):
        super().__init__(**{"name": backbone.name, "dtype": backbone.dtype_policy, **kwargs})
        patch = backbone.patch_size
        self.patch_size = (patch, patch) if isinstance(patch, int) else tuple(patch)
        self.backbone = backbone
        if self.embedding.data_format != "channels_last":
            raise ValueError(
                "A backbone of images whose channels come first cannot be taken apart. Expected "
                f'`data_format="channels_last"`. Received: encoder={backbone!r}'
            )
        self.built = True

    @property
    def embedding(self) -> keras.layers.Layer:
        """The layer of patches, class token and positions."""
        raise NotImplementedError

    def patches(self, images: Any) -> Any:
        """Return the patches of images without positions, on their grid or row by row."""
        raise NotImplementedError

    def positions(self) -> Any:
        """Return the positions of class token and patches, `(positions, width)`."""
        raise NotImplementedError

    def learned_tokens(self) -> tuple[Any, Any]:
        """Return class token and registers, each `(count, width)` or `None`."""
        raise NotImplementedError

    @property
    def blocks(self) -> list[keras.layers.Layer]:
        """The blocks in the order of their depth, as `optimizers.layer_wise_decay` takes them."""
        raise NotImplementedError

    def run(self, tokens: Any, training: bool | None) -> tuple[list, Any]:
        """Return all tokens after each block, and behind the last normalization."""
        raise NotImplementedError

    def grid(self, shape: tuple) -> tuple[int, int]:
        size = tuple(self.backbone.image_shape[:2])
        if len(shape) != 4 or tuple(shape[1:3]) != size:
            raise ValueError(
                f"Images must be {size[0]}x{size[1]} with their channels last, as the "
                f"`image_shape` of {self.backbone.name!r}, whose positions fit no others. "
                f"Received: shape {tuple(shape)}"
            )
        return size[0] // self.patch_size[0], size[1] // self.patch_size[1]

    def embed(self, images: Any) -> Any:
        rows, columns = self.grid(images.shape)
        x = self.patches(ops.cast(images, self.compute_dtype))
        # some parts lose the number of patches, which methods need to know
        return ops.reshape(x, (-1, rows * columns, self.backbone.hidden_dim))

    def encode(
        self,
        tokens: Any,
        grid: tuple[int, int],
        indices: Any = None,
        training: bool | None = None,
    ) -> dict[str, Any]:
        class_token, registers = self.learned_tokens()
        before = 0 if class_token is None else 1
        positions = ops.cast(self.positions(), tokens.dtype)
        of_patches = positions[before:]
        if indices is None:
            x = tokens + of_patches
        else:
            x = tokens + ops.take(of_patches, ops.cast(indices, "int32"), axis=0)
        learned = []
        if class_token is not None:
            learned.append(ops.cast(class_token, x.dtype) + positions[:1])
        if registers is not None:
            learned.append(ops.cast(registers, x.dtype))
        learned = [ops.repeat(one[None], ops.shape(x)[0], axis=0) for one in learned]
        blocks, x = self.run(ops.concatenate([*learned, x], axis=1), training)
        outputs = {"blocks": blocks, "patch_tokens": x[:, self.extra_tokens :]}
        if class_token is None:
            outputs["features"] = ops.mean(outputs["patch_tokens"], axis=1)
        else:
            outputs["features"] = outputs["class_token"] = x[:, 0]
        if registers is not None:
            outputs["registers"] = x[:, before : self.extra_tokens]
        return outputs

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.backbone.hidden_dim)

    def get_config(self) -> dict:
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**keras.layers.Layer.get_config(self), "backbone": backbone}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "_HubEncoder":
        backbone = keras.saving.deserialize_keras_object(
            config["backbone"], custom_objects=custom_objects
        )
        return cls(**{**config, "backbone": backbone})


@keras.saving.register_keras_serializable(package="keras_ssl")
class _HubViT(_HubEncoder):
    """KerasHub's `ViTBackbone`."""

    @property
    def extra_tokens(self) -> int:
        return int(self.embedding.use_class_token)

    @property
    def embedding(self) -> keras.layers.Layer:
        return self._layer("ViTPatchingAndEmbedding")

    def _layer(self, kind: str) -> keras.layers.Layer:
        return next(one for one in self.backbone.layers if type(one).__name__ == kind)

    def patches(self, images: Any) -> Any:
        return self.embedding.patch_embedding(images)

    def positions(self) -> Any:
        count = self.embedding.num_positions
        return self.embedding.position_embedding(ops.arange(count))

    def learned_tokens(self) -> tuple[Any, Any]:
        return (self.embedding.class_token[0] if self.extra_tokens else None), None

    @property
    def blocks(self) -> list[keras.layers.Layer]:
        return list(self._layer("ViTEncoder").encoder_layers)

    def run(self, tokens: Any, training: bool | None) -> tuple[list, Any]:
        encoder, blocks = self._layer("ViTEncoder"), []
        x = encoder.dropout(tokens, training=training)
        for block in self.blocks:
            x = block(x, training=training)
            blocks.append(x)
        return blocks, encoder.layer_norm(x)


@keras.saving.register_keras_serializable(package="keras_ssl")
class _HubDINOv2(_HubEncoder):
    """KerasHub's `DINOV2Backbone`, also with registers."""

    @property
    def extra_tokens(self) -> int:
        return 1 + self.embedding.num_register_tokens

    @property
    def embedding(self) -> keras.layers.Layer:
        return self.backbone.embeddings

    def patches(self, images: Any) -> Any:
        return self.embedding.patch_embeddings(images)

    def positions(self) -> Any:
        return self.embedding.interpolated_position_embeddings[0]

    def learned_tokens(self) -> tuple[Any, Any]:
        registers = None
        if self.embedding.num_register_tokens:
            registers = self.embedding.register_tokens[0]
        return self.embedding.cls_token[0], registers

    @property
    def blocks(self) -> list[keras.layers.Layer]:
        return list(self.backbone.encoder.layers)

    def run(self, tokens: Any, training: bool | None) -> tuple[list, Any]:
        blocks = []
        x = self.embedding.dropout(tokens, training=training)
        for block in self.blocks:
            x = block(x, training=training)
            blocks.append(x)
        return blocks, self.backbone.layernorm(x)


# recognized by name, since KerasHub need not be installed
_HUB = {"ViTBackbone": _HubViT, "DINOV2Backbone": _HubDINOv2}


def token_encoder(encoder: keras.layers.Layer, needs: Sequence[str] = ()) -> TokenEncoder:
    """Return an encoder as a `TokenEncoder`, and check that it can do what a method needs.

    KerasHub's `ViTBackbone` and `DINOV2Backbone` are taken apart, and share their weights with what
    is returned. Its features are the class token, or the mean of the patches of a backbone without
    one. Its images have the size that the backbone was made for, and its pixels are not rescaled.
    It can leave patches out, but not restrict what a token attends to.

    Args:
        encoder: a `TokenEncoder`, such as `networks.vit`, or one of these backbones.
        needs: names of arguments of `encode` that the method uses, such as `"indices"`.

    Returns:
        The `TokenEncoder`.

    Raises:
        TypeError: if `encoder` is none, or its `encode` lacks one of the arguments.
        ValueError: if the channels of a backbone's images come first.

    Example:

    >>> from keras_ssl import networks
    >>> encoder = networks.vit((16, 2, 4), input_shape=(8, 8, 3), patch_size=4)
    >>> networks.token_encoder(encoder, needs=["indices"]) is encoder
    True
    """
    for kind in type(encoder).__mro__:
        if kind.__name__ in _HUB and kind.__module__.partition(".")[0] == "keras_hub":
            encoder = _HUB[kind.__name__](encoder)
            break
    if not isinstance(encoder, TokenEncoder):
        raise TypeError(
            "`encoder` must be a `keras_ssl.networks.TokenEncoder`, such as `networks.vit(...)`, "
            "or a `ViTBackbone` or `DINOV2Backbone` of KerasHub, since the method hides patches "
            "from it. "
            f"Received: encoder={encoder!r} of type {type(encoder)}"
        )
    known = inspect.signature(encoder.encode).parameters
    if missing := [name for name in needs if name not in known]:
        raise TypeError(
            f"The method calls `encoder.encode` with {sorted(missing)}, which {encoder.name!r} "
            f"does not take. Received: encoder={encoder!r}, whose `encode` takes {list(known)}"
        )
    return encoder
