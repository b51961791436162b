"""Vision transformers."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import (
    AttentionPooling,
    ClassToken,
    FeedForward,
    LearnedPositionalEmbedding,
    MultiHeadAttention,
    PatchEmbedding,
    RegisterTokens,
    RelativePositionBias,
    SinusoidalPositionalEncoding,
    TransformerEncoderBlock,
)
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.transformer._gelu import get_activation, serialize_activation
from keras_ssl.layers.transformer.blocks import make_norm, normalize
from keras_ssl.networks.vision.token_encoder import TokenEncoder

# width, number of blocks, number of heads
SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "huge": (1280, 32, 16),
}
_POOLINGS = ("class", "mean", "attention", None)
_POSITIONS = ("learned", "sincos", None)
_BIASES = ("block", "shared", None)
_FINAL_NORMS = ("tokens", "features", None)


@keras.saving.register_keras_serializable(package="keras_ssl")
class VisionTransformer(TokenEncoder):
    r"""Vision transformer that masked methods can use as their encoder; see `networks.vit`.

    Args:
        input_shape: `(height, width, channels)` of the images that the positions are made for.
            Images of other sizes get interpolated positions.
        patch_size: size of a patch in pixels, or `(height, width)`.
        width: number of features of a token.
        depth: number of blocks.
        num_heads: number of heads of the attention.
        hidden_dim: width of the hidden layer of the blocks' feed-forward networks; four times
            `width` by default.
        class_token: whether a learned class token comes before the patches.
        registers: number of register tokens behind the class token.
        positions: `"learned"`, `"sincos"` (fixed sines and cosines in two dimensions, as MAE), or
            `None`.
        relative_bias: learned bias of the attention by the offset of two patches, as in BEiT:
            `"block"` for one in each block, `"shared"` for one in all, or `None`. Images must then
            have the size of `input_shape`.
        pooling: `"class"` for the class token as features, `"mean"` for the mean of the patches,
            `"attention"` for `layers.AttentionPooling` of them, or `None` for all tokens,
            `(batch, tokens, width)`.
        final_norm: what is normalized after the blocks: `"tokens"`; `"features"`, after the
            pooling, as in BEiT and in MAE's fine-tuning; or `None`.
        first_norm: whether the tokens are normalized before the blocks too, as in CLIP.
        patch_bias: whether the patch embedding adds a bias, which that of CLIP does not.
        activation: activation function of the feed-forward networks, as of `layers.FeedForward`.
        gated: whether they have a gate; with `"silu"` they are SwiGLU.
        norm: `"layer"`, `"rms"` or `"batch"`: kind of normalization.
        epsilon: small number added to variances.
        layer_scale: initial value of a learned scale of each residual branch, or `None` for none.
        query_key_norm: normalization of queries and keys, as of `layers.MultiHeadAttention`.
        use_bias: whether queries, keys and values have biases. All other projections have.
        drop_path_rate: rate of stochastic depth in the last block; it increases linearly from 0 in
            the first.
        dropout_rate: dropout rate of the outputs of attention and feed-forward networks.
        attention_dropout_rate: dropout rate of the attention's scores.
        include_rescaling: whether pixels are first rescaled from [0, 255] to
            `(pixels / 255 - pixel_mean) / pixel_std`, by default to [-1, 1].
        pixel_mean: mean of pixels, a number or one for each channel.
        pixel_std: standard deviation of pixels, likewise.
        antialias_positions: whether interpolated positions are averaged where the grid gets
            smaller, as of `layers.LearnedPositionalEmbedding`.
        remat: whether each block is computed again in the backward pass instead of being kept, as
            of `layers.TransformerEncoderBlock`.
        seed: integer seed of dropout, and of the initial class token, registers and positions.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: images.
        return_intermediates: whether to return all that `encode` returns, in a dictionary.
        training: whether to apply dropout and to use the statistics of the batch.

    Input shape:
        `(batch, height, width, channels)`, height and width divisible by the patch size.

    Output shape:
        `(batch, width)`, or `(batch, tokens, width)` with `pooling=None`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if an argument is out of range, or images are not divisible by patches.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.VisionTransformer(
    ...     (32, 32, 3), patch_size=4, width=96, depth=4, num_heads=4, registers=2
    ... )
    >>> images = np.zeros((2, 32, 32, 3), "float32")
    >>> encoder(images).shape
    TensorShape([2, 96])
    >>> outputs = encoder(images, return_intermediates=True)
    >>> outputs["patch_tokens"].shape, len(outputs["blocks"]), outputs["blocks"][0].shape
    (TensorShape([2, 64, 96]), 4, TensorShape([2, 67, 96]))

    Reference:
        - [Dosovitskiy et al., An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929)
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        patch_size: int | tuple[int, int],
        width: int,
        depth: int,
        num_heads: int,
        *,
        hidden_dim: int | None = None,
        class_token: bool = True,
        registers: int = 0,
        positions: str | None = "learned",
        relative_bias: str | None = None,
        pooling: str | None = "class",
        final_norm: str | None = "tokens",
        first_norm: bool = False,
        patch_bias: bool = True,
        activation: Any = "gelu",
        gated: bool = False,
        norm: str = "layer",
        epsilon: float = 1e-6,
        layer_scale: float | None = None,
        query_key_norm: str | None = None,
        use_bias: bool = True,
        drop_path_rate: float = 0.0,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        include_rescaling: bool = True,
        pixel_mean: float | Sequence[float] = 0.5,
        pixel_std: float | Sequence[float] = 0.5,
        antialias_positions: bool = False,
        remat: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if len(input_shape) != 3 or not all(isinstance(n, (int, np.integer)) for n in input_shape):
            raise ValueError(
                "`input_shape` must be (height, width, channels) as integers. Images of other "
                f"sizes can be passed later. Received: input_shape={input_shape}"
            )
        for name, value, allowed in (
            ("positions", positions, _POSITIONS),
            ("relative_bias", relative_bias, _BIASES),
            ("pooling", pooling, _POOLINGS),
            ("final_norm", final_norm, _FINAL_NORMS),
        ):
            if value not in allowed:
                raise ValueError(
                    f"`{name}` must be one of {list(allowed)}. Received: {name}={value!r}"
                )
        depth = checks.integer("depth", depth, minimum=1)
        registers = checks.integer("registers", registers, minimum=0)
        if pooling == "class" and not class_token:
            raise ValueError(
                '`pooling="class"` needs a class token. Expected `class_token=True`, or '
                '`pooling="mean"`. Received: class_token=False'
            )
        if relative_bias is not None and registers:
            raise ValueError(
                "`relative_bias` is for patches and a class token, since registers have no place. "
                f"Received: relative_bias={relative_bias!r}, registers={registers}"
            )
        if final_norm == "features" and pooling is None:
            raise ValueError('`final_norm="features"` needs `pooling`. Received: pooling=None')
        self._arguments = {
            "input_shape": tuple(int(n) for n in input_shape),
            "patch_size": patch_size,
            "width": checks.integer("width", width, minimum=1),
            "depth": depth,
            "num_heads": checks.integer("num_heads", num_heads, minimum=1),
            "hidden_dim": checks.integer("hidden_dim", hidden_dim, minimum=1, optional=True),
            "class_token": bool(class_token),
            "registers": registers,
            "positions": positions,
            "relative_bias": relative_bias,
            "pooling": pooling,
            "final_norm": final_norm,
            "first_norm": bool(first_norm),
            "patch_bias": bool(patch_bias),
            "activation": activation,
            "gated": bool(gated),
            "norm": norm,
            "epsilon": epsilon,
            "layer_scale": layer_scale,
            "query_key_norm": query_key_norm,
            "use_bias": bool(use_bias),
            "drop_path_rate": checks.below_one("drop_path_rate", drop_path_rate),
            "dropout_rate": dropout_rate,
            "attention_dropout_rate": attention_dropout_rate,
            "include_rescaling": bool(include_rescaling),
            "pixel_mean": _of_channels("pixel_mean", pixel_mean, input_shape[2]),
            "pixel_std": _of_channels("pixel_std", pixel_std, input_shape[2], positive=True),
            "antialias_positions": bool(antialias_positions),
            "remat": bool(remat),
            "seed": checks.integer("seed", seed, optional=True),
        }
        self.pooling, self.final_norm = pooling, final_norm
        self.extra_tokens = int(class_token) + registers
        like = {"dtype": self.dtype_policy}
        self.rescaling = None
        if include_rescaling:
            mean, std = (np.array(self._arguments[f"pixel_{name}"]) for name in ("mean", "std"))
            self.rescaling = keras.layers.Rescaling(
                (1 / (255 * std)).tolist(), (-mean / std).tolist(), **like
            )
        self.patch_embedding = PatchEmbedding(
            patch_size, width, patch_bias, name="patch_embedding", **like
        )
        self.patch_size = self.patch_embedding.patch_size
        grid = self.grid((None, *input_shape))
        self.class_token = self.register_tokens = self.position_embedding = None
        small = keras.initializers.TruncatedNormal(stddev=0.02, seed=self._arguments["seed"])
        if class_token:
            self.class_token = ClassToken(initializer_copy(small, 1), name="class_token", **like)
        if registers:
            self.register_tokens = RegisterTokens(
                registers,
                int(class_token),
                initializer_copy(small, 2),
                name="register_tokens",
                **like,
            )
        extra = {"extra_tokens": int(class_token), "name": "position_embedding", **like}
        if positions == "learned":
            self.position_embedding = LearnedPositionalEmbedding(
                grid, initializer=initializer_copy(small, 3), antialias=antialias_positions, **extra
            )
        elif positions == "sincos":
            self.position_embedding = SinusoidalPositionalEncoding(grid, **extra)
        self.first_norm = None
        if first_norm:
            self.first_norm = make_norm(norm, epsilon=epsilon, name="first_norm", **like)
        self.blocks = self._make_blocks(grid)
        self.norm = None
        if final_norm is not None:
            self.norm = make_norm(norm, epsilon=epsilon, name="norm", **like)
        self.attention_pooling = None
        if pooling == "attention":
            self.attention_pooling = AttentionPooling(num_heads, name="attention_pooling", **like)
        self.build((None, *input_shape))

    def _make_blocks(self, grid: tuple[int, int]) -> list[TransformerEncoderBlock]:
        a, like = self._arguments, {"dtype": self.dtype_policy}
        width, heads = a["width"], a["num_heads"]
        hidden = a["hidden_dim"] or 4 * width
        bias = None
        blocks = []
        for number in range(a["depth"]):
            # dropout in each part of each block draws from another seed
            seed = None if a["seed"] is None else a["seed"] + 10 * number
            if a["relative_bias"] == "block" or (a["relative_bias"] and bias is None):
                bias = RelativePositionBias(
                    heads, grid, a["class_token"], name="relative_position_bias", **like
                )
            attention = MultiHeadAttention(
                heads,
                dropout_rate=a["attention_dropout_rate"],
                use_bias=a["use_bias"],
                use_output_bias=True,
                query_key_norm=a["query_key_norm"],
                position_bias=bias,
                seed=None if seed is None else seed + 9,
                name="attention",
                **like,
            )
            feed_forward = FeedForward(
                hidden,
                a["activation"],
                gated=a["gated"],
                dropout_rate=a["dropout_rate"],
                seed=None if seed is None else seed + 8,
                name="feed_forward",
                **like,
            )
            block = TransformerEncoderBlock(
                heads,
                hidden,
                attention=attention,
                feed_forward=feed_forward,
                norm=a["norm"],
                epsilon=a["epsilon"],
                dropout_rate=a["dropout_rate"],
                drop_path_rate=a["drop_path_rate"] * number / max(a["depth"] - 1, 1),
                layer_scale=a["layer_scale"],
                remat=a["remat"],
                seed=seed,
                name=f"block_{number + 1}",
                **like,
            )
            blocks.append(block)
        return blocks

    def build(self, input_shape: tuple) -> None:
        rows, columns = self.grid(input_shape)
        width = self._arguments["width"]
        patches = (input_shape[0], rows * columns, width)
        tokens = (input_shape[0], rows * columns + self.extra_tokens, width)
        with_class = (input_shape[0], patches[1] + (self.class_token is not None), width)
        self.patch_embedding.build(input_shape)
        for layer, shape in (
            (self.class_token, patches),
            (self.position_embedding, with_class),
            (self.register_tokens, with_class),
            (self.first_norm, tokens),
            *((block, tokens) for block in self.blocks),
            (self.attention_pooling, patches),
            (self.norm, patches[::2] if self.final_norm == "features" else patches),
        ):
            if layer is not None and not layer.built:
                layer.build(shape)
        self.built = True

    def grid(self, shape: tuple) -> tuple[int, int]:
        """Return the numbers of rows and columns of patches of images of a shape."""
        return self.patch_embedding.grid(shape)

    def embed(self, images: Any) -> Any:
        """Return the patches of images as tokens, without positions."""
        images = ops.cast(images, self.compute_dtype)
        if self.rescaling is not None:
            images = self.rescaling(images)
        return self.patch_embedding(images)

    def encode(
        self,
        tokens: Any,
        grid: tuple[int, int],
        indices: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> dict[str, Any]:
        """Add positions and learned tokens, run the blocks, and pool.

        Args:
            tokens: `(batch, tokens, width)`, as `embed` returns them.
            grid: the numbers of rows and columns of patches of the whole image.
            indices: int32 `(batch, tokens)`: the patches that the tokens are of, in the order of
                rows. `None` if they are all patches.
            attention_mask: booleans `(tokens, tokens)` or `(batch, tokens, tokens)`, `True` where a
                token of a row attends to that of a column. Class token and registers are attended
                to by all tokens, and attend to all.
            return_attention_scores: whether to return the scores of each block.
            training: whether to apply dropout and to use the statistics of the batch.

        Returns:
            Dictionary of

            - `"features"`: as `call` returns them.
            - `"patch_tokens"`: `(batch, tokens, width)`, normalized if `final_norm="tokens"`.
            - `"class_token"`: the same of the class token, `(batch, width)`, if there is one.
            - `"registers"`: `(batch, registers, width)`, if there are any.
            - `"blocks"`: list of all tokens after each block, `(batch, extra_tokens + tokens,
              width)`, not normalized.
            - `"attention_scores"`: list of the scores of each block, `(batch, num_heads,
              extra_tokens + tokens, extra_tokens + tokens)`, if asked for.
        """
        if indices is not None and self._arguments["relative_bias"] is not None:
            raise ValueError(
                "An encoder with `relative_bias` needs all patches. Use `positions` alone where "
                "patches are left out. Received: `indices` with "
                f"relative_bias={self._arguments['relative_bias']!r}"
            )
        x = self._place(tokens, grid, indices)
        if self.first_norm is not None:
            x = normalize(self.first_norm, x, training)
        if attention_mask is not None:
            attention_mask = self._with_extra_tokens(attention_mask)
        blocks, scores = [], []
        for block in self.blocks:
            arguments = {"attention_mask": attention_mask, "training": training}
            if return_attention_scores:
                x, of_block = block(x, return_attention_scores=True, **arguments)
                scores.append(of_block)
            else:
                x = block(x, **arguments)
            blocks.append(x)
        if self.final_norm == "tokens":
            x = normalize(self.norm, x, training)
        outputs = {"blocks": blocks, "patch_tokens": x[:, self.extra_tokens :]}
        if self.class_token is not None:
            outputs["class_token"] = x[:, 0]
        if self.register_tokens is not None:
            outputs["registers"] = x[
                :, self.extra_tokens - self.register_tokens.count : self.extra_tokens
            ]
        if return_attention_scores:
            outputs["attention_scores"] = scores
        outputs["features"] = self._pool(x, outputs, training)
        return outputs

    def _place(self, tokens: Any, grid: tuple[int, int], indices: Any) -> Any:
        """Return tokens with positions, behind class token and registers."""
        x = tokens if self.class_token is None else self.class_token(tokens)
        if self.position_embedding is not None and indices is None:
            x = self.position_embedding(x, grid=grid)
        elif self.position_embedding is not None:
            before = int(self.class_token is not None)
            shape = (1, before + grid[0] * grid[1], tokens.shape[-1])
            table = self.position_embedding(ops.zeros(shape, x.dtype), grid=grid)[0]
            places = ops.pad(ops.cast(indices, "int32") + before, ((0, 0), (before, 0)))
            x = x + ops.take(table, places, axis=0)
        return x if self.register_tokens is None else self.register_tokens(x)

    def _with_extra_tokens(self, mask: Any) -> Any:
        """Return the mask of all tokens, `(batch or 1, tokens, tokens)`."""
        mask = ops.cast(mask, "bool")
        mask = mask if len(mask.shape) == 3 else mask[None]
        added = ((0, 0), (self.extra_tokens, 0), (self.extra_tokens, 0))
        return ops.cast(ops.pad(ops.cast(mask, "int32"), added, constant_values=1), "bool")

    def _pool(self, x: Any, outputs: dict[str, Any], training: bool | None) -> Any:
        if self.pooling == "class":
            features = x[:, 0]
        elif self.pooling == "mean":
            features = ops.mean(outputs["patch_tokens"], axis=1)
        elif self.pooling == "attention":
            features = self.attention_pooling(outputs["patch_tokens"])
        else:
            features = x
        if self.final_norm == "features":
            features = normalize(self.norm, features, training)
        return features

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the features of images of a shape."""
        rows, columns = self.grid(input_shape)
        width = self._arguments["width"]
        if self.pooling is None:
            return (input_shape[0], self.extra_tokens + rows * columns, width)
        return (input_shape[0], width)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        arguments = dict(self._arguments)
        if not isinstance(arguments["activation"], str):
            arguments["activation"] = serialize_activation(get_activation(arguments["activation"]))
        return {**keras.layers.Layer.get_config(self), **arguments}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "VisionTransformer":
        """Make the network that `config` describes."""
        return cls(**config)


def _of_channels(name: str, value: Any, channels: int, positive: bool = False) -> Any:
    """Check a number, or a list of one for each channel, which is returned as a tuple."""
    check = checks.positive if positive else checks.number
    if not isinstance(value, (list, tuple, np.ndarray)):
        return check(name, value)
    if len(value) != channels:
        raise ValueError(
            f"`{name}` must be a number, or one for each of {channels} channels. "
            f"Received: {name}={value}"
        )
    return tuple(check(name, one) for one in value)


def vit(
    size: str | tuple[int, int, int] = "base",
    input_shape: tuple[int, int, int] = (224, 224, 3),
    patch_size: int | tuple[int, int] = 16,
    **kwargs: Any,
) -> VisionTransformer:
    """Build a vision transformer, an encoder of images and of sets of their patches.

    | Size | Width | Blocks | Heads | Parameters (224x224, patches of 16) |
    | --- | --- | --- | --- | --- |
    | `"tiny"` | 192 | 12 | 3 | 5.5 M |
    | `"small"` | 384 | 12 | 6 | 21.7 M |
    | `"base"` | 768 | 12 | 12 | 85.8 M |
    | `"large"` | 1024 | 24 | 16 | 303.3 M |
    | `"huge"` | 1280 | 32 | 16 | 630.9 M |

    Args:
        size: one of the names above, or `(width, blocks, heads)`.
        input_shape: `(height, width, channels)` of the images that the positions are made for.
            Images of other sizes get interpolated positions.
        patch_size: size of a patch in pixels, or `(height, width)`.
        **kwargs: other arguments of `networks.VisionTransformer`, such as `pooling`.

    Returns:
        `networks.VisionTransformer` from `(batch, height, width, channels)` to `(batch, width)`.

    Raises:
        ValueError: if `size` is unknown, or an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.vit((96, 4, 4), input_shape=(32, 32, 3), patch_size=4, pooling="mean")
    >>> encoder(np.zeros((2, 32, 32, 3))).shape
    TensorShape([2, 96])
    >>> encoder(np.zeros((2, 48, 48, 3))).shape  # interpolated positions
    TensorShape([2, 96])

    Reference:
        - [Dosovitskiy et al., An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929)
        - [Touvron et al., Training data-efficient image transformers](
          https://arxiv.org/abs/2012.12877)
    """
    if isinstance(size, str) and size not in SIZES:
        raise ValueError(
            f"`size` must be one of {list(SIZES)} or (width, blocks, heads). "
            f"Received: size={size!r}"
        )
    width, depth, heads = SIZES[size] if isinstance(size, str) else size
    return VisionTransformer(input_shape, patch_size, width, depth, heads, **kwargs)
