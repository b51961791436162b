"""Diffusion transformers."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers import (
    AdaptiveTransformerBlock,
    PatchEmbedding,
    SinusoidalPositionalEncoding,
)
from keras_ssl.layers.normalization._layer_normalization import LayerNormalization
from keras_ssl.networks._sizes import check_image_shape
from keras_ssl.networks.generative._conditions import denoiser_inputs, time_and_label
from keras_ssl.ops import unpatchify

# width, number of blocks, number of heads
_SIZES = {
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "xlarge": (1152, 28, 16),
}


def dit(
    size: str | tuple[int, int, int] = "small",
    input_shape: tuple[int, int, int] = (32, 32, 4),
    patch_size: int = 2,
    *,
    num_classes: int | None = None,
    token_dim: int | None = None,
    tokens_mask: bool = False,
    condition_channels: int = 0,
    dropout_rate: float = 0.0,
    remat: bool = False,
    seed: int | None = None,
    name: str = "dit",
) -> keras.Model:
    """Build a diffusion transformer, which denoises images, or latents, as tokens of patches.

    Patches become tokens with fixed sines and cosines as positions. Time and label shift, scale and
    gate each block (`layers.AdaptiveTransformerBlock`), and shift and scale the last normalization.
    The last layer maps each token to the pixels of its patch. Gates and last layer start as zero.

    | Size | Width | Blocks | Heads |
    | --- | --- | --- | --- |
    | `"small"` | 384 | 12 | 6 |
    | `"base"` | 768 | 12 | 12 |
    | `"large"` | 1024 | 24 | 16 |
    | `"xlarge"` | 1152 | 28 | 16 |

    The network is called on one dictionary, that of `networks.diffusion_unet`: `"x"` and `"time"`,
    and `"label"`, `"tokens"`, `"tokens_mask"` and `"image"` if asked for.

    Args:
        size: one of the names above, or `(width, blocks, heads)`, the width divisible by 4 and by
            the heads.
        input_shape: `(height, width, channels)` of the images, divisible by the patch size.
        patch_size: height and width of a patch.
        num_classes: number of classes, or `None` for a network without labels. The label
            `num_classes` means "no label".
        token_dim: width of the tokens that each block attends to, or `None` for a network without.
        tokens_mask: whether there is a mask of the tokens.
        condition_channels: number of channels of condition images, or 0 for none.
        dropout_rate: dropout rate of the hidden layers of the feed-forward networks.
        remat: whether each block is computed again in the backward pass instead of being kept.
        seed: integer seed of dropout.
        name: name of the model.

    Returns:
        `keras.Model` from the dictionary to float32 of the shape of `"x"`. The tokens after block
        i, counted from 1, are the output of the layer `"block_<i>"`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if `size` is unknown, a number is out of range, or the images are not divisible
            by patches.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> denoiser = networks.dit((32, 2, 4), (28, 28, 1), patch_size=4, num_classes=10)
    >>> inputs = {"x": np.zeros((2, 28, 28, 1)), "time": np.array([0.0, 999.0])}
    >>> denoiser({**inputs, "label": np.array([3, 10])}).shape
    TensorShape([2, 28, 28, 1])

    Reference:
        - [Peebles and Xie, Scalable Diffusion Models with
          Transformers](https://arxiv.org/abs/2212.09748)
        - [Chen et al., PixArt-alpha](https://arxiv.org/abs/2310.00426) for tokens
    """
    if isinstance(size, str) and size not in _SIZES:
        raise ValueError(
            f"`size` must be one of {list(_SIZES)} or (width, blocks, heads). "
            f"Received: size={size!r}"
        )
    width, depth, heads = (
        checks.integer("size", n, minimum=1)
        for n in (_SIZES[size] if isinstance(size, str) else size)
    )
    if width % 4 or width % heads:
        raise ValueError(
            "`size` must be (width, blocks, heads) with a width divisible by 4 and by the number "
            f"of heads. Received: size={size!r}"
        )
    input_shape = check_image_shape("input_shape", input_shape)
    patches = PatchEmbedding(patch_size, width, name="patch_embedding")
    grid = patches.grid((None, *input_shape))
    like = {
        "cross_attention": token_dim is not None,
        "dropout_rate": checks.below_one("dropout_rate", dropout_rate),
        "remat": bool(remat),
    }
    seed = checks.integer("seed", seed, optional=True)
    inputs = denoiser_inputs(input_shape, num_classes, token_dim, tokens_mask, condition_channels)
    condition = time_and_label(inputs, width, 256, num_classes, stddev=0.02)
    tokens = [inputs[key] for key in ("tokens", "tokens_mask") if key in inputs]

    x = inputs["x"]
    if condition_channels:
        x = keras.layers.Concatenate(name="images_and_condition")([x, inputs["image"]])
    x = SinusoidalPositionalEncoding(grid, name="positions")(patches(x))
    for number in range(depth):
        own = None if seed is None else seed + number
        block = AdaptiveTransformerBlock(
            heads, 4 * width, seed=own, name=f"block_{number + 1}", **like
        )
        x = block(x, condition, *tokens)
    outputs = PatchesToImages(patches.patch_size, grid, input_shape[-1], name="pixels")(
        x, condition
    )
    outputs = keras.layers.Activation("linear", dtype="float32", name="outputs")(outputs)
    return keras.Model(inputs, outputs, name=name)


@keras.saving.register_keras_serializable(package="keras_ssl")
class PatchesToImages(keras.layers.Layer):
    """The last layer of a diffusion transformer: adaptive normalization and a linear map to pixels.

    Args:
        patch_size: `(height, width)` of a patch.
        grid: `(rows, columns)` of patches.
        channels: number of channels of the images.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens `(batch, patches, width)`.
        condition: `(batch, features)`, which shifts and scales normalized tokens.
        training: whether this is a training step.
    """

    def __init__(
        self, patch_size: tuple[int, int], grid: tuple[int, int], channels: int, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.patch_size, self.grid = tuple(patch_size), tuple(grid)
        self.channels = channels
        like = {"dtype": self.dtype_policy}
        self.norm = LayerNormalization(epsilon=1e-6, center=False, scale=False, **like)
        self.modulation = None
        pixels = self.patch_size[0] * self.patch_size[1] * channels
        self.pixels = keras.layers.Dense(pixels, kernel_initializer="zeros", name="pixels", **like)

    def build(self, inputs_shape: tuple, condition_shape: tuple) -> None:
        self.modulation = keras.layers.Dense(
            2 * inputs_shape[-1],
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="modulation",
        )
        self.modulation.build(condition_shape)
        for part in (self.norm, self.pixels):
            part.build(inputs_shape)

    def call(self, inputs: Any, condition: Any, training: bool | None = None) -> Any:
        shift, scale = keras.ops.split(self.modulation(condition)[:, None], 2, axis=-1)
        x = self.norm(inputs, training=training) * (1 + scale) + shift
        return unpatchify(self.pixels(x), self.patch_size, self.grid)

    def compute_output_shape(self, inputs_shape: tuple, condition_shape: tuple) -> tuple:
        height, width = (n * m for n, m in zip(self.patch_size, self.grid, strict=True))
        return (inputs_shape[0], height, width, self.channels)

    def get_config(self) -> dict:
        own = {"patch_size": self.patch_size, "grid": self.grid, "channels": self.channels}
        return {**super().get_config(), **own}
