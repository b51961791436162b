"""The peer of `benchmarks/methods.py`: one method trained from start to end."""

from typing import Any

import numpy as np
import torch
from lightly_methods import METHODS as CONVOLUTIONAL_METHODS
from lightly_vit_methods import VIT_METHODS
from peak_memory import peak_gigabytes
from serve import serve
from small_resnet import read_kernels
from training_run import TrainingRun

METHODS = CONVOLUTIONAL_METHODS | VIT_METHODS


def train(
    method: str,
    recipe: dict[str, Any],
    width: int,
    seed: int,
    images: str,
    labels: str,
    features: dict[str, str],
    start: str | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Trains on the images of a `.npy` file and writes the features of the files in `features`.

    The encoder starts with the kernels of the file `start`, if there is one.

    Returns:
        Seconds and loss of each epoch, the number of parameters, and the peak of the memory of
        this process, without its loader processes.
    """
    torch.manual_seed(seed)
    made = METHODS[method](width, **recipe)
    if start is not None:
        for encoder in (made.encoder, *getattr(made, "teacher", [])[:1]):
            read_kernels(encoder, start)
    run = TrainingRun(made, np.load(images), **settings)
    epochs = []
    for number in range(settings["epochs"]):
        epochs.append(run.epoch())
        print(f"lightly, {method}, epoch {number + 1}: {epochs[-1]}", flush=True)
    gigabytes = peak_gigabytes()
    for source, target in features.items():
        np.save(target, run.features(np.load(source)))
    return {"epochs": epochs, "parameters": run.parameters(), "gigabytes": gigabytes}


if __name__ == "__main__":
    serve({"train": train, "methods": lambda: list(METHODS)})
