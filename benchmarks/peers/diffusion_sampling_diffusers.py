"""Images by diffusers' U-Net and DDIM, in PyTorch's default layout and with channels last."""

import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers_unet import all_versions, count_parameters, layout, make_unet
from serve import serve

_samplers: dict[bool, Callable[[int], Any]] = {}


def set_up(batch: int, channels_last: bool, **network: Any) -> int:
    """Makes network and scheduler; returns the number of trainable parameters."""
    unet = make_unet(channels_last=channels_last, **network).eval()
    # the steps of our default; the predictions of the data are clipped by default, as ours
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    shape = (batch, network["channels"], network["size"], network["size"])

    @torch.inference_mode()
    def sample(steps: int) -> Any:
        scheduler.set_timesteps(steps)
        x = torch.randn(shape).to(memory_format=layout(channels_last))
        for step_time in scheduler.timesteps:
            x = scheduler.step(unet(x, step_time).sample, step_time, x).prev_sample
        return (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()

    _samplers[channels_last] = sample
    return count_parameters(unet)


def seconds(steps: int, channels_last: bool) -> float:
    """Seconds that a batch of images takes."""
    start = time.perf_counter()
    _samplers[channels_last](steps)
    return time.perf_counter() - start


serve({"set_up": set_up, "seconds": seconds, "versions": all_versions})
