"""The U-Net of diffusion models."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers import GroupNormalization
from keras_ssl.networks._sizes import DivisibleSize, check_image_shape, check_size, check_widths
from keras_ssl.networks.generative._blocks import (
    AttentionBlock,
    ResidualBlock,
    Upsample,
    common_divisor,
    convolution,
)
from keras_ssl.networks.generative._conditions import denoiser_inputs, time_and_label

_TIMES = ("add", "scale_shift")


def diffusion_unet(
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    widths: Sequence[int] = (64, 128, 256),
    blocks: int = 2,
    attention_levels: Sequence[int] = (),
    head_dim: int | None = None,
    *,
    num_classes: int | None = None,
    token_dim: int | None = None,
    tokens_mask: bool = False,
    condition_channels: int = 0,
    time: str = "add",
    groups: int | None = None,
    epsilon: float = 1e-5,
    dropout_rate: float = 0.0,
    remat: bool = False,
    seed: int | None = None,
    name: str = "diffusion_unet",
) -> keras.Model:
    """Build the U-Net of diffusion models, which denoises images at a given time.

    Each level has `blocks` residual blocks on the way down, one more on the way up, and half the
    height and width of the level before. A block is two 3x3 convolutions, each behind group
    normalization and SiLU. What the blocks on the way down return is concatenated to the inputs of
    those on the way up. Between both ways lie two more blocks with self-attention between them.
    The last convolution of each block and of the network, and the projection behind each attention,
    start as zero.

    The network is called on one dictionary; all but the first two are there if asked for:

    - `"x"`: noisy images, `(batch, height, width, channels)`.
    - `"time"`: float32 `(batch,)`, the time as the schedule counts it, such as 0 to 999. It may be
      fractional.
    - `"label"`: int32 `(batch,)`, the classes, where `num_classes` means "no label".
    - `"tokens"`: `(batch, tokens, token_dim)`, what cross-attention attends to. Zeros alone mean
      "no condition".
    - `"tokens_mask"`: booleans `(batch, tokens)`, `False` for padding.
    - `"image"`: `(batch, height, width, condition_channels)`, images that the result depends on,
      such as depth or edges.

    Args:
        input_shape: `(height, width, channels)` of the images. Height and width may be `None`; they
            must be divisible by `2 ** (len(widths) - 1)`.
        widths: number of channels of each level.
        blocks: number of residual blocks of each level.
        attention_levels: the levels, counted from 0, whose residual blocks are each followed by
            self-attention and, if there are tokens, by cross-attention.
        head_dim: width of each head of attention, which divides the channels of the last level and
            of all levels with attention; the most up to 32 by default.
        num_classes: number of classes, or `None` for a network without labels.
        token_dim: width of the tokens, or `None` for a network without tokens. The middle of the
            network attends to them too.
        tokens_mask: whether there is a mask of the tokens.
        condition_channels: number of channels of condition images, or 0 for none.
        time: how blocks learn the time and the label: `"add"` adds a projection of them between the
            convolutions; `"scale_shift"` scales and shifts what the second normalization returns.
        groups: number of groups of the normalizations, which divides all widths; the most up to 32
            by default.
        epsilon: small number added to variances.
        dropout_rate: dropout rate in the residual blocks.
        remat: whether what blocks compute is computed again in the backward pass instead of being
            kept: less memory, and a third more time.
        seed: integer seed of dropout.
        name: name of the model.

    Returns:
        `keras.Model` from the dictionary to float32 of the shape of `"x"`. Its middle, the most
        compressed features, is the output of the layer `"middle_block_2"`.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is out of range, a level unknown, or the size not divisible.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> denoiser = networks.diffusion_unet((28, 28, 1), (16, 32), 1, attention_levels=(1,))
    >>> denoiser({"x": np.zeros((2, 28, 28, 1)), "time": np.array([0.0, 999.0])}).shape
    TensorShape([2, 28, 28, 1])

    Reference:
        - [Ho et al., Denoising Diffusion Probabilistic Models](https://arxiv.org/abs/2006.11239)
        - [Dhariwal and Nichol, Diffusion Models Beat GANs](https://arxiv.org/abs/2105.05233)
        - [Rombach et al., High-Resolution Image Synthesis with Latent Diffusion
          Models](https://arxiv.org/abs/2112.10752) for cross-attention
    """
    input_shape = check_image_shape("input_shape", input_shape)
    widths = check_widths("widths", widths)
    halvings = len(widths) - 1
    check_size(input_shape, 2**halvings)
    blocks = checks.integer("blocks", blocks, minimum=1)
    levels = _check_levels(attention_levels, len(widths))
    attended = tuple(widths[level] for level in sorted({*levels, halvings}))
    head_dim = common_divisor("head_dim", head_dim, attended)
    if time not in _TIMES:
        raise ValueError(f"`time` must be one of {list(_TIMES)}. Received: time={time!r}")
    like = {
        "groups": common_divisor("groups", groups, widths),
        "epsilon": checks.positive("epsilon", epsilon),
        "remat": bool(remat),
    }
    dropout_rate = checks.below_one("dropout_rate", dropout_rate)
    seed = checks.integer("seed", seed, optional=True)

    inputs = denoiser_inputs(input_shape, num_classes, token_dim, tokens_mask, condition_channels)
    frequencies = widths[0] + widths[0] % 2
    features = time_and_label(inputs, 4 * widths[0], frequencies, num_classes, stddev=1.0)
    tokens = [inputs[key] for key in ("tokens", "tokens_mask") if key in inputs]
    count = 0

    def block(x: Any, width: int, name: str) -> Any:
        nonlocal count
        own = None if seed is None else seed + count
        count += 1
        layer = ResidualBlock(
            width, time=time, dropout_rate=dropout_rate, seed=own, name=name, **like
        )
        return layer(x, features)

    def attend(x: Any, name: str) -> Any:
        x = AttentionBlock(head_dim, name=f"{name}_attention", **like)(x)
        if tokens:
            x = AttentionBlock(head_dim, name=f"{name}_cross_attention", **like)(x, *tokens)
        return x

    x = DivisibleSize(2**halvings, name="images")(inputs["x"])
    if condition_channels:
        x = keras.layers.Concatenate(name="images_and_condition")([x, inputs["image"]])
    x = convolution(widths[0], name="first_convolution")(x)
    skips = [x]
    for level, width in enumerate(widths):
        for number in range(blocks):
            step = f"down_{level + 1}_block_{number + 1}"
            x = block(x, width, step)
            if level in levels:
                x = attend(x, step)
            skips.append(x)
        if level < halvings:
            x = convolution(width, strides=2, name=f"down_{level + 1}_halve")(x)
            skips.append(x)
    x = block(x, widths[-1], "middle_block_1")
    x = attend(x, "middle")
    x = block(x, widths[-1], "middle_block_2")
    for level, width in reversed(list(enumerate(widths))):
        for number in range(blocks + 1):
            step = f"up_{level + 1}_block_{number + 1}"
            x = keras.layers.Concatenate(name=f"{step}_skip")([x, skips.pop()])
            x = block(x, width, step)
            if level in levels:
                x = attend(x, step)
        if level:
            x = Upsample(width, name=f"up_{level + 1}_double")(x)
    x = GroupNormalization(like["groups"], like["epsilon"], "silu", name="last_norm")(x)
    outputs = convolution(input_shape[-1], zeros=True, name="last_convolution", dtype="float32")(x)
    return keras.Model(inputs, outputs, name=name)


def _check_levels(value: Any, count: int) -> frozenset[int]:
    """Check levels, counted from 0."""
    try:
        levels = [checks.integer("attention_levels", level) for level in value]
    except TypeError:
        levels = None
    if levels is None or not all(0 <= level < count for level in levels):
        raise ValueError(
            f"`attention_levels` must be integers from 0 to {count - 1}, one for each level with "
            f"attention. Received: attention_levels={value!r}"
        )
    return frozenset(levels)
