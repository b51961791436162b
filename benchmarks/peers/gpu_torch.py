"""PyTorch's side of `gpu.py`: `python gpu_torch.py PART SETTINGS` prints a line of JSON.

It needs PyTorch and NumPy alone. On CUDA networks are compiled by `torch.compile`.
"""

import json
import math
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from vit_blocks import Attention, Block, perceptron

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _compiled(function: Any) -> Any:
    return torch.compile(function) if DEVICE == "cuda" else function


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _call(function: Callable[[], Any], repeats: int, calls: int = 1) -> dict[str, Any]:
    """Seconds of a function, and of its first call, which compiles."""
    _wait()
    start = perf_counter()
    function()
    _wait()
    first, seconds = perf_counter() - start, []
    for _ in range(repeats):
        start = perf_counter()
        for _ in range(calls):
            function()
        _wait()
        seconds.append((perf_counter() - start) / calls)
    return {"first": first, "seconds": seconds}


def _train(
    network: nn.Module,
    loss: Callable[[], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Seconds of a step that ends with an update."""

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    found = _call(step, settings["repeats"], settings["steps"])
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return {**found, "parameters": learned}


# SimCLR


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the stride is in the second."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = 4 * width
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


def _resnet(blocks: list[int], width: int) -> nn.Module:
    layers = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = width
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride = 2 if stage and not block else 1
            layers.append(Bottleneck(channels, width * 2**stage, stride))
            channels = 4 * width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    n = len(z1)
    logits = z @ z.T / temperature
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=z.device), -torch.inf)
    return F.cross_entropy(logits, torch.arange(2 * n, device=z.device).roll(n))


def simclr(settings: dict[str, Any]) -> dict[str, Any]:
    """A step of SimCLR with ResNet-50."""
    features, (hidden, dim) = 32 * settings["width"], settings["head"]
    network = nn.Sequential(
        _resnet(settings["blocks"], settings["width"]),
        nn.Linear(features, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, dim),
    )
    network = network.to(DEVICE, memory_format=torch.channels_last).train()
    size = settings["size"]
    views = torch.randn(2 * settings["pairs"], 3, size, size, device=DEVICE)
    views = views.contiguous(memory_format=torch.channels_last)
    compiled = _compiled(network)

    def loss() -> torch.Tensor:
        with torch.autocast(DEVICE, torch.bfloat16):
            z1, z2 = compiled(views).chunk(2)
        return _nt_xent(z1.float(), z2.float())

    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    return _train(network, loss, optimizer, settings)


# MAE


def _positions(rows: int, columns: int, width: int) -> torch.Tensor:
    """Sines and cosines of rows and columns, `(rows * columns, width)`."""
    rates = 10000 ** (-torch.arange(width // 4) / (width // 4))
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
    angles = places[:, :, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1).to(DEVICE)


class MAE(nn.Module):
    """Encoder on visible patches, decoder on all, squared error of normalised hidden pixels."""

    def __init__(self, size: int, patch: int, encoder: list[int], decoder: list[int]):
        super().__init__()
        (width, depth, heads), (narrow, layers, few) = encoder, decoder
        side, pixels = size // patch, 3 * patch**2
        self.patch = patch
        self.patches = nn.Linear(pixels, width)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.encoder = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.enter = nn.Linear(width, narrow)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, narrow))
        self.decoder = nn.Sequential(*(Block(narrow, few) for _ in range(layers)))
        self.last_norm = nn.LayerNorm(narrow, eps=1e-6)
        self.to_pixels = nn.Linear(narrow, pixels)
        self.places = [_positions(side, side, one) for one in (width, narrow)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The loss of a batch."""
        pixels = F.pixel_unshuffle(images, self.patch).flatten(2).transpose(1, 2)
        batch, count, _ = pixels.shape
        order = torch.rand(batch, count, device=images.device).argsort(1)
        shown = count - round(0.75 * count)

        def take(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            return x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1]))

        x = take(self.patches(pixels) + self.places[0], order[:, :shown])
        x = torch.cat([self.class_token.expand(batch, -1, -1), x], 1)
        x = self.enter(self.norm(self.encoder(x)))
        hidden = self.mask_token.expand(batch, count - shown, -1)
        full = take(torch.cat([x[:, 1:], hidden.to(x.dtype)], 1), order.argsort(1))
        x = self.decoder(torch.cat([x[:, :1], full + self.places[1]], 1))
        predicted = self.to_pixels(self.last_norm(take(x[:, 1:], order[:, shown:])))
        target = take(pixels, order[:, shown:]).float()
        mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
        return F.mse_loss(predicted.float(), (target - mean) / (variance + 1e-6).sqrt())


def mae(settings: dict[str, Any]) -> dict[str, Any]:
    """A step of MAE with a vision transformer."""
    size = settings["size"]
    network = MAE(size, settings["patch"], settings["encoder"], settings["decoder"]).to(DEVICE)
    images = torch.randn(settings["batch"], 3, size, size, device=DEVICE)
    compiled = _compiled(network)

    def loss() -> torch.Tensor:
        with torch.autocast(DEVICE, torch.bfloat16):
            return compiled(images)

    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    return _train(network, loss, optimizer, settings)


# Losses and neighbours


def nt_xent(settings: dict[str, Any]) -> dict[str, Any]:
    """NT-Xent and its gradient."""
    shape = (settings["embeddings"] // 2, settings["dim"])
    views = [torch.randn(shape, device=DEVICE, requires_grad=True) for _ in range(2)]
    loss = _compiled(_nt_xent)
    return _call(lambda: torch.autograd.grad(loss(*views), views), settings["repeats"])


def knn(settings: dict[str, Any]) -> dict[str, Any]:
    """Classes of queries by their neighbours, in blocks of 1,024."""
    generator = np.random.default_rng(0)
    features, queries = (
        generator.standard_normal((settings[name], settings["dim"]), "float32")
        for name in ("features", "queries")
    )
    labels = generator.integers(settings["classes"], size=settings["features"])

    @torch.inference_mode()
    def predict() -> np.ndarray:
        train = F.normalize(torch.from_numpy(features).to(DEVICE))
        test = F.normalize(torch.from_numpy(queries).to(DEVICE))
        classes, found = torch.from_numpy(labels).to(DEVICE), []
        for block in test.split(1024):
            similarities, nearest = (block @ train.T).topk(settings["k"])
            votes = torch.zeros(len(block), settings["classes"], device=DEVICE)
            votes.scatter_add_(1, classes[nearest], (similarities / 0.1).exp())
            found.append(votes.argmax(1))
        return torch.cat(found).cpu().numpy()

    return _call(predict, settings["repeats"])


# DDIM


class AdaptiveBlock(nn.Module):
    """A transformer's block whose normalization the time shifts and scales."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)
        self.attention = Attention(width, heads)
        self.mlp = perceptron(width)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Tokens after attention and feed-forward network."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(
            6, -1
        )
        h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale1) + shift1
        x = x + gate1 * self.attention(h)
        h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale2) + shift2
        return x + gate2 * self.mlp(h)


class DiT(nn.Module):
    """A diffusion transformer."""

    def __init__(self, shape: list[int], patch: int, network: list[int]):
        super().__init__()
        rows, columns, channels = shape
        width, depth, heads = network
        self.patch, self.rows = patch, rows // patch
        self.patches = nn.Linear(channels * patch**2, width)
        self.places = _positions(rows // patch, columns // patch, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(AdaptiveBlock(width, heads) for _ in range(depth))
        self.modulation = nn.Linear(width, 2 * width)
        self.pixels = nn.Linear(width, channels * patch**2)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """The noise of images `(batch, channels, rows, columns)`."""
        rates = torch.exp(-math.log(10000) * torch.arange(128, device=x.device) / 128)
        angles = time[:, None] * rates
        condition = F.silu(self.time(torch.cat([angles.cos(), angles.sin()], -1)))
        tokens = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        tokens = self.patches(tokens) + self.places
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
        tokens = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6) * (1 + scale) + shift
        tokens = self.pixels(tokens).transpose(1, 2).unflatten(2, (self.rows, -1))
        return F.pixel_shuffle(tokens, self.patch).float()


def ddim(settings: dict[str, Any]) -> dict[str, Any]:
    """Images by DDIM."""
    rows, columns, channels = settings["shape"]
    network = DiT(settings["shape"], settings["patch"], settings["network"]).to(DEVICE).eval()
    compiled = _compiled(network)
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, device=DEVICE), 0)
    steps = torch.linspace(999, 0, settings["steps"], device=DEVICE).long()

    @torch.inference_mode()
    def sample() -> np.ndarray:
        x = torch.randn(settings["images"], channels, rows, columns, device=DEVICE)
        for number, step in enumerate(steps):
            last = number + 1 == len(steps)
            now, after = kept[step], kept.new_ones(()) if last else kept[steps[number + 1]]
            with torch.autocast(DEVICE, torch.bfloat16):
                noise = compiled(x, step.float().expand(len(x)))
            images = ((x - (1 - now).sqrt() * noise) / now.sqrt()).clamp(-1, 1)
            noise = (x - now.sqrt() * images) / (1 - now).sqrt()
            x = after.sqrt() * images + (1 - after).sqrt() * noise
        return (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()

    learned = sum(p.numel() for p in network.parameters())
    return {**_call(sample, settings["repeats"]), "parameters": learned}


PARTS = {"simclr": simclr, "mae": mae, "nt_xent": nt_xent, "knn": knn, "ddim": ddim}


def main() -> None:
    """Runs the part that the command line names."""
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")  # as XLA's default on GPUs
    found = PARTS[sys.argv[1]](json.loads(sys.argv[2]))
    cuda = DEVICE == "cuda"
    found["device"] = torch.cuda.get_device_name() if cuda else "cpu"
    found["bytes"] = torch.cuda.max_memory_allocated() if cuda else None
    print(json.dumps({**found, "versions": {"torch": torch.__version__}}))


main()
