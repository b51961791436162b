"""Images in memory behind a PyTorch loader, as `torchvision.datasets.CIFAR10` has them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset

SCALE = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}  # pixels in [-1, 1]


class Images(Dataset):
    """Images handed out one by one, through a transform."""

    def __init__(self, images: np.ndarray, transform: Callable[[Image.Image], Any]):
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(Image.fromarray(self.images[index]))


def load(
    images: np.ndarray, transform: Callable[[Image.Image], Any], batch_size: int, workers: int
) -> DataLoader:
    """Batches of transformed images in a new order each epoch, the incomplete one dropped."""
    return DataLoader(
        Images(images, transform),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
    )
