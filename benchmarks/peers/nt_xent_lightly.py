"""NT-Xent and its gradient by Lightly's `NTXentLoss`."""

import torch
import torchvision_cpu  # noqa: F401
from lightly.loss import NTXentLoss
from peak_memory import seconds_and_memory
from serve import serve

_step = None


def set_up(pairs: int, dim: int, temperature: float) -> None:
    """Makes embeddings and loss, and wakes PyTorch's threads with a small one."""
    global _step
    torch.manual_seed(0)
    criterion = NTXentLoss(temperature=temperature)

    def step(views: list[torch.Tensor]) -> None:
        for view in views:
            view.grad = None
        criterion(*views).backward()

    def views(count: int) -> list[torch.Tensor]:
        return [torch.randn(count, dim, requires_grad=True) for _ in range(2)]

    step(views(64))
    large = views(pairs)
    _step = lambda: step(large)  # noqa: E731


def measure() -> dict[str, float]:
    """Seconds and gigabytes of a loss and its gradient."""
    return seconds_and_memory(_step)


serve({"set_up": set_up, "measure": measure})
