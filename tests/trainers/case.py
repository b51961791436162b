"""`Case`: a small trainer and what the contract of `test_contract.py` needs to know about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_ssl import trainers
from tests.trainers.small import images


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Return zeros of this shape."""
    return np.zeros(shape, dtype)


def with_indices(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return images with their indices, as `data.with_index` gives them."""
    return {"image": images, "index": np.arange(len(images))}


BAD_IMAGES = (
    (zeros(64, 28, 28), "rank 4|batch, height, width, channels"),
    (zeros(64, 28, 28, 3), "axis -1 of input shape to have value 1"),
    (zeros(0, 28, 28, 1), "no data"),
)

BAD_SINGLE_VIEW = BAD_IMAGES[1:]  # for trainers without views, whose encoder decides the rank

BAD_GRAPHS = (
    (zeros(64, 16, 49), "Expected data of graphs"),
    ((zeros(64, 16, 49), zeros(64, 15, 15)), "16 nodes.*15"),
    ((zeros(64, 16, 49), zeros(64, 16, 15)), "must be square"),
    ((zeros(0, 16, 49), zeros(0, 16, 16)), "no data"),
)

# What a trainer may be made of. For each there is one case that represents it: `costly` in
# `cases.py` runs the costly tests for these cases, and for the others in the `full` tier.
SHAPES = (
    "plain",
    "batch normalization",
    "teacher",
    "queue",
    "memory bank",
    "crops",
    "labels",
    "sampling",
    "two optimizers",
    "graph",
    "tokens",
)


@dataclass(frozen=True)
class Case:
    """A small trainer, its data, and what the contract expects of it.

    Attributes:
        make: Returns the trainer. Its weights come from Keras' seed.
        decreasing_loss: Name of the loss that training must decrease.
        decrease: The least decrease of that loss that the learning test requires; see
            `decrease_in`. At most two thirds of the smallest one that
            `scripts/learning_margins.py` measures over seeds and CPU kernels.
        start: The epoch of the learning test, from 0, that the decrease is measured from.
        epochs: Number of epochs of the learning test.
        examples: Number of examples of the learning test.
        x: Returns the input, at least 128 examples; `images` by default.
        optimizer: Returns the `optimizer` argument of `compile` for the learning test.
        sgd: Returns the same for tests that compare two runs; SGD does not amplify rounding errors.
        bad_data: Pairs of input that `fit` must reject and a pattern of the error message.
        normalized: Whether the networks contain batch normalization.
        labelled: Whether the method learns from labels, those of `images`.
        micro_batches: Whether the method supports `compile(micro_batch_size=...)`.
        probed: Returns the labels of the online probe, one per example or per position.
        represents: The one of `SHAPES` that this case represents, or `None`.
    """

    make: Callable[[], trainers.SelfSupervisedModel]
    decreasing_loss: str
    decrease: float = 0.0
    start: int = 0
    epochs: int = 12
    examples: int = 128
    x: Callable[[], Any] = field(default=lambda: images()[0])
    optimizer: Callable[[], Any] = field(default=lambda: keras.optimizers.Adam(3e-3))
    sgd: Callable[[], Any] = field(default=lambda: keras.optimizers.SGD(0.05))
    bad_data: tuple[tuple[Any, str], ...] = BAD_IMAGES
    normalized: bool = False
    labelled: bool = False
    micro_batches: bool = True
    probed: Callable[[], np.ndarray] = field(default=lambda: images()[1])
    represents: str | None = None

    def first(self, count: int) -> Any:
        """Return the first examples of the input."""
        return keras.tree.map_structure(lambda one: one[:count], self.x())

    def decrease_in(self, history: dict[str, list[float]]) -> float:
        """Return the decrease of the loss from epoch `start` to the mean of the last three."""
        losses = history[self.decreasing_loss]
        return float(losses[self.start] - np.mean(losses[-3:]))

    def y(self) -> np.ndarray | None:
        """Return the labels that the method learns from, or `None`."""
        return images()[1] if self.labelled else None
