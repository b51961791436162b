"""One training step of diffusers' U-Net, in PyTorch's default layout and with channels last."""

import time
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers_unet import all_versions, count_parameters, layout, make_unet
from serve import serve

_steps = {}


def set_up(batch: int, channels_last: bool, **network: Any) -> int:
    """Makes network, optimizer and images; returns the number of trainable parameters."""
    unet = make_unet(channels_last=channels_last, **network).train()
    shape = (batch, network["channels"], network["size"], network["size"])
    images, noise = (torch.randn(shape).to(memory_format=layout(channels_last)) for _ in range(2))
    times = torch.randint(1000, (batch,))
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4)

    def step() -> None:
        loss = F.mse_loss(unet(images, times).sample, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    _steps[channels_last] = step
    return count_parameters(unet)


def seconds(steps: int, channels_last: bool) -> float:
    """Seconds a step, the mean over `steps` steps."""
    start = time.perf_counter()
    for _ in range(steps):
        _steps[channels_last]()
    return (time.perf_counter() - start) / steps


serve({"set_up": set_up, "seconds": seconds, "versions": all_versions})
