"""MoCo's loss against a queue, by Lightly's `NTXentLoss` with a memory bank."""

import time

import torch
import torchvision_cpu  # noqa: F401
from lightly.loss import NTXentLoss
from serve import serve

_step = None


def set_up(batch: int, dim: int, size: int, temperature: float) -> None:
    """Makes queries, keys and the loss with its queue."""
    global _step
    torch.manual_seed(0)
    criterion = NTXentLoss(temperature=temperature, memory_bank_size=(size, dim))
    query, key = torch.randn(batch, dim, requires_grad=True), torch.randn(batch, dim)

    def step() -> None:
        query.grad = None
        criterion(query, key).backward()

    _step = step
    step()


def seconds(steps: int) -> float:
    """Seconds of a loss and its gradient."""
    start = time.perf_counter()
    for _ in range(steps):
        _step()
    return (time.perf_counter() - start) / steps


serve({"set_up": set_up, "seconds": seconds})
