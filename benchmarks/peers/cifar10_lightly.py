"""The peer of `benchmarks/cifar10.py`: SimCLR in PyTorch, as Lightly's own example trains it.

Lightly gives the transform, the loss and the projection head; data set, loader and training loop
are the user's. The encoder is `keras_ssl.networks.small_resnet` written in PyTorch.
"""

import numpy as np
import torch
from lightly_methods import SimCLR, two_views
from serve import serve
from training_run import TrainingRun


class Run:
    """One training run, an epoch at a time."""

    def start(
        self,
        images: str,
        seed: int,
        width: int,
        projector: list[int],
        temperature: float,
        strength: float,
        **settings: float,
    ) -> int:
        """Sets up a run on the images of a `.npy` file; returns its number of parameters."""
        torch.manual_seed(seed)
        method = SimCLR(width, projector, temperature)
        method.transform = two_views(strength)
        self.run = TrainingRun(method, np.load(images), **settings)
        return self.run.parameters()

    def epoch(self) -> dict[str, float]:
        """Trains for one epoch; returns its seconds and its mean loss."""
        return self.run.epoch()

    def features(self, images: str, output: str) -> None:
        """Writes the encoder's features of the images of one `.npy` file to another."""
        np.save(output, self.run.features(np.load(images)))


if __name__ == "__main__":
    run = Run()
    serve({"start": run.start, "epoch": run.epoch, "features": run.features})
