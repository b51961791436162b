"""One training step of a vision transformer in PyTorch, with scaled_dot_product_attention."""

import time

import torch
import torch.nn.functional as F  # noqa: N812
from serve import serve
from torch import nn
from vit_blocks import Block

_steps = {}


class ViT(nn.Module):
    """Patches, positions, blocks, norm, mean and classes."""

    def __init__(self, width: int, heads: int, blocks: int, size: int, patch: int):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.classes = nn.Linear(width, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the classes."""
        x = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.classes(self.norm(self.blocks(x)).mean(dim=1))


def set_up(
    width: int, heads: int, blocks: int, size: int, patch: int, batch: int, bfloat16: bool
) -> int:
    """Makes network, optimizer and images; returns the number of trainable parameters."""
    torch.manual_seed(0)
    network = ViT(width, heads, blocks, size, patch).train()
    images = torch.rand(batch, 3, size, size) * 2 - 1
    labels = torch.randint(10, (batch,))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = network(images)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    _steps[bfloat16] = step
    return sum(p.numel() for p in network.parameters())


def seconds(steps: int, bfloat16: bool) -> float:
    """Seconds a step, the mean over `steps` steps."""
    start = time.perf_counter()
    for _ in range(steps):
        _steps[bfloat16]()
    return (time.perf_counter() - start) / steps


serve({"set_up": set_up, "seconds": seconds})
