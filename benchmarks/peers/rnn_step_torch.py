"""One training step of an LSTM and a GRU in PyTorch, with its fused layers."""

import time

import torch
import torch.nn.functional as F  # noqa: N812
from serve import serve
from torch import nn

_steps = {}


def set_up(name: str, width: int, time: int, batch: int) -> None:
    """Make layer, optimizer and sequences."""
    torch.manual_seed(0)
    layer = getattr(nn, name)(width, width, batch_first=True).train()
    x, y = torch.randn(2, batch, time, width)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)

    def step() -> None:
        loss = F.mse_loss(layer(x)[0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    _steps[name] = step


def seconds(name: str, steps: int, cpu_time: bool) -> float:
    """Seconds per step, the mean over `steps` steps."""
    clock = time.process_time if cpu_time else time.perf_counter
    start = clock()
    for _ in range(steps):
        _steps[name]()
    return (clock() - start) / steps


serve({"set_up": set_up, "seconds": seconds})
