"""The peer's side of a whole run: a method, its data and its optimizer, an epoch at a time."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from images import load
from PIL import Image
from torch import Tensor, nn


class Method(nn.Module):
    """What a method adds to the loop: its modules, its loss, and what happens at each step."""

    encoder: nn.Module
    transform: Callable[[Image.Image], Any]

    def forward(self, views: list[Tensor]) -> Tensor:
        """The loss of the views of a batch."""
        raise NotImplementedError

    def before_step(self) -> None:
        """What comes before the forward pass of a step."""


class TrainingRun:
    """One training run, an epoch at a time, in the words of Lightly's examples."""

    def __init__(
        self,
        method: Method,
        images: np.ndarray,
        epochs: int,
        batch_size: int,
        workers: int,
        learning_rate: float,
        weight_decay: float,
        epsilon: float,
        warmup: float = 0.0,
        channels_last: bool = False,
    ):
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.method = method.to(memory_format=self.layout)
        self.loader = load(images, method.transform, batch_size, workers)
        self.learned = [weight for weight in method.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.learned, lr=learning_rate, weight_decay=weight_decay, eps=epsilon
        )
        steps = epochs * len(self.loader)
        rising = round(warmup * steps)

        def factor(step: int) -> float:
            """Rises from 0 for a part of the steps, then falls to 0 along half a cosine."""
            if step < rising:
                return step / rising
            return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)

    def epoch(self) -> dict[str, float]:
        """Trains for one epoch; returns its seconds and its mean loss."""
        start = time.perf_counter()
        self.method.train()
        total = 0.0
        for views in self.loader:
            self.method.before_step()
            loss = self.method([view.to(memory_format=self.layout) for view in views])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            total += loss.item()
        return {"seconds": time.perf_counter() - start, "loss": total / len(self.loader)}

    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(weight.numel() for weight in self.learned)

    @torch.no_grad()
    def features(self, images: np.ndarray) -> np.ndarray:
        """The encoder's features of the images."""
        self.method.eval()
        batches = torch.from_numpy(images).permute(0, 3, 1, 2).split(500)
        return torch.cat([self.method.encoder(x / 127.5 - 1) for x in batches]).numpy()
