"""The U-Net of diffusers, in either layout of PyTorch."""

import diffusers
import torch
from serve import versions


def make_unet(
    size: int,
    channels: int,
    widths: list[int],
    blocks: int,
    attention_levels: list[int],
    head_dim: int,
    groups: int,
    channels_last: bool,
) -> diffusers.UNet2DModel:
    """A network whose weights are drawn with seed 0."""
    torch.manual_seed(0)
    with_attention = [level in attention_levels for level in range(len(widths))]
    network = diffusers.UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(widths),
        layers_per_block=blocks,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in with_attention),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in with_attention[::-1]),
        attention_head_dim=head_dim,
        norm_num_groups=groups,
        downsample_padding=0,
    )
    return network.to(memory_format=layout(channels_last))


def layout(channels_last: bool) -> torch.memory_format:
    """PyTorch's name of a layout."""
    return torch.channels_last if channels_last else torch.contiguous_format


def count_parameters(network: torch.nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in network.parameters())


def all_versions() -> dict[str, str]:
    """The versions of what is being compared with."""
    return {**versions(), "diffusers": diffusers.__version__}
