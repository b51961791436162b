"""SimCLR's pairs of views by Lightly's `SimCLRTransform`: PIL images, a DataLoader with workers."""

import time

import torchvision_cpu  # noqa: F401

# isort: split
import numpy as np
from lightly.transforms import SimCLRTransform
from PIL import Image
from serve import serve
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    """PIL images held in memory; an item is the list of an image's views."""

    def __init__(self, images: np.ndarray, transform: SimCLRTransform):
        self.images = [Image.fromarray(image) for image in images]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list:
        return self.transform(self.images[index])


class Views:
    """One loader, iterated as a training loop would."""

    def set_up(self, images: str, size: int, batch_size: int, workers: int) -> int:
        """Makes the loader for the images of a `.npy` file; returns how many it serves."""
        self.loader = DataLoader(
            Images(np.load(images), SimCLRTransform(input_size=size)),
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        return len(self.loader) * batch_size

    def pairs_per_second(self) -> float:
        """Pairs of views per second over one epoch."""
        pairs = 0
        start = time.perf_counter()
        for first, _ in self.loader:
            pairs += len(first)
        return pairs / (time.perf_counter() - start)


if __name__ == "__main__":
    views = Views()
    serve({"set_up": views.set_up, "pairs_per_second": views.pairs_per_second})
