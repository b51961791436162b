"""One training step of diffusers' U-Net, in PyTorch's default layout and with channels last."""

import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import torch
import torch.nn.functional as F  # noqa: N812
from serve import serve, versions

_steps = {}


def set_up(
    size: int,
    channels: int,
    widths: list[int],
    blocks: int,
    attention_levels: list[int],
    head_dim: int,
    groups: int,
    batch: int,
    channels_last: bool,
) -> int:
    """Makes network, optimizer and images; returns the number of trainable parameters."""
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
    ).train()
    images, noise = torch.randn(2, batch, channels, size, size)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        images, noise = (x.to(memory_format=torch.channels_last) for x in (images, noise))
    times = torch.randint(1000, (batch,))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        loss = F.mse_loss(network(images, times).sample, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    _steps[channels_last] = step
    return sum(p.numel() for p in network.parameters())


def seconds(steps: int, channels_last: bool) -> float:
    """Seconds a step, the mean over `steps` steps."""
    start = time.perf_counter()
    for _ in range(steps):
        _steps[channels_last]()
    return (time.perf_counter() - start) / steps


def all_versions() -> dict[str, str]:
    """The versions of what is being compared with."""
    return {**versions(), "diffusers": diffusers.__version__}


serve({"set_up": set_up, "seconds": seconds, "versions": all_versions})
