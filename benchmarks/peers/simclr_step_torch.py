"""One SimCLR training step in PyTorch: torchvision's residual blocks, at any width."""

import time

import torch
import torch.nn.functional as F  # noqa: N812
import torchvision_cpu  # noqa: F401
from serve import serve
from torchvision.models.resnet import BasicBlock

_step = None


def resnet18(width: int) -> torch.nn.Module:
    """ResNet-18 with a 3x3 stem of stride 1 and `width` channels in its first stage."""
    layers = [
        torch.nn.Conv2d(3, width, 3, padding=1, bias=False),
        torch.nn.BatchNorm2d(width),
        torch.nn.ReLU(inplace=True),
    ]
    channels = width
    for stage in range(4):
        out = width * 2**stage
        stride = 1 if stage == 0 else 2
        shortcut = None
        if stride > 1:
            shortcut = torch.nn.Sequential(
                torch.nn.Conv2d(channels, out, 1, stride=stride, bias=False),
                torch.nn.BatchNorm2d(out),
            )
        layers += [BasicBlock(channels, out, stride, shortcut), BasicBlock(out, out)]
        channels = out
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    return torch.nn.Sequential(*layers)


def nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """The SimCLR loss over 2N views."""
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n = len(z1)
    logits = z @ z.T / temperature
    logits.fill_diagonal_(float("-inf"))
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def set_up(width: int, pairs: int, size: int, channels_last: bool, bfloat16: bool) -> int:
    """Makes network, optimizer and views; returns the number of trainable parameters."""
    global _step
    torch.manual_seed(0)
    features = 8 * width
    network = torch.nn.Sequential(
        resnet18(width),
        torch.nn.Linear(features, features, bias=False),
        torch.nn.BatchNorm1d(features),
        torch.nn.ReLU(inplace=True),
        torch.nn.Linear(features, 128),
    ).train()
    views = torch.rand(2, pairs, 3, size, size) * 2 - 1
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        views = [v.contiguous(memory_format=torch.channels_last) for v in views]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            z1, z2 = network(torch.cat(list(views))).chunk(2)
        loss = nt_xent(z1.float(), z2.float(), temperature=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    _step = step
    return sum(p.numel() for p in network.parameters())


def seconds(steps: int) -> float:
    """Seconds a step, the mean over `steps` steps."""
    start = time.perf_counter()
    for _ in range(steps):
        _step()
    return (time.perf_counter() - start) / steps


serve({"set_up": set_up, "seconds": seconds})
