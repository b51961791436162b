"""The peer of `benchmarks/cifar10.py`: SimCLR in PyTorch, as Lightly's own example trains it.

Lightly gives the transform, the loss and the projection head; data set, loader and training loop
are the user's. The encoder is `keras_ssl.networks.small_resnet` written in PyTorch.
"""

import time

import numpy as np
import torch
import torchvision_cpu  # noqa: F401
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from PIL import Image
from serve import serve
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.resnet import BasicBlock


class Images(Dataset):
    """Images held in memory, handed out one by one as `torchvision.datasets.CIFAR10` does."""

    def __init__(self, images: np.ndarray, transform: SimCLRTransform):
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        return self.transform(Image.fromarray(self.images[index]))


def block(channels_in: int, channels: int, stride: int) -> BasicBlock:
    """A residual block; its shortcut is a normalised 1x1 convolution where shapes differ."""
    shortcut = None
    if stride > 1 or channels_in != channels:
        shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False),
            nn.BatchNorm2d(channels),
        )
    return BasicBlock(channels_in, channels, stride, shortcut)


def small_resnet(width: int) -> nn.Module:
    """Three stages of one residual block after a strided convolution."""
    encoder = nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        block(width, width, 1),
        block(width, 2 * width, 2),
        block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    return encoder


class SimCLRRun:
    """One training run, an epoch at a time."""

    def start(
        self,
        images: str,
        seed: int,
        workers: int,
        channels_last: bool,
        batch_size: int,
        epochs: int,
        width: int,
        projector: list[int],
        temperature: float,
        strength: float,
        learning_rate: float,
        weight_decay: float,
        epsilon: float,
    ) -> int:
        """Sets up a run on the images of a `.npy` file; returns its number of parameters."""
        torch.manual_seed(seed)
        half = [0.5, 0.5, 0.5]
        transform = SimCLRTransform(
            input_size=32,
            cj_strength=strength,
            gaussian_blur=0.0,
            normalize={"mean": half, "std": half},
        )
        self.loader = DataLoader(
            Images(np.load(images), transform),
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=True,
        )
        hidden, output = projector
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.encoder = small_resnet(width).to(memory_format=self.layout)
        self.projector = SimCLRProjectionHead(4 * width, hidden, output)
        for module in self.projector.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        self.criterion = NTXentLoss(temperature=temperature)
        self.model = nn.Sequential(self.encoder, self.projector)
        parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(
            parameters, lr=learning_rate, weight_decay=weight_decay, eps=epsilon
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, T_max=epochs * len(self.loader)
        )
        return sum(parameter.numel() for parameter in parameters)

    def epoch(self) -> dict[str, float]:
        """Trains for one epoch; returns its seconds and its mean loss."""
        start = time.perf_counter()
        self.model.train()
        total = 0.0
        for views in self.loader:
            view1, view2 = (view.to(memory_format=self.layout) for view in views)
            loss = self.criterion(self.model(view1), self.model(view2))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            total += loss.item()
        return {"seconds": time.perf_counter() - start, "loss": total / len(self.loader)}

    @torch.no_grad()
    def features(self, images: str, output: str) -> None:
        """Writes the encoder's features of the images of one `.npy` file to another."""
        self.model.eval()
        batches = torch.from_numpy(np.load(images)).permute(0, 3, 1, 2).split(500)
        np.save(output, torch.cat([self.encoder(x / 127.5 - 1) for x in batches]).numpy())


if __name__ == "__main__":
    run = SimCLRRun()
    serve({"start": run.start, "epoch": run.epoch, "features": run.features})
