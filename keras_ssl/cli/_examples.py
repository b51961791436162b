"""The examples that the commands read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_ssl import data

_SHUFFLED = 50_000
# bytes of examples of a set that are kept in memory, as of a folder
_CACHED = 2 * 1024**3


@dataclass
class Examples:
    """Examples of one shape, with what is known of them.

    Attributes:
        examples: unbatched `tf.data.Dataset` of examples, or of tuples of example and label.
        shape: shape of an example: height, width and channels of an image.
        count: number of examples.
        files: names of their files, or their places in a file or set.
        classes: names of the classes, if there are any.
    """

    examples: tf.data.Dataset
    shape: tuple[int, ...]
    count: int
    files: list[str]
    classes: list[str] | None = None

    @property
    def has_labels(self) -> bool:
        """Whether each example has a label."""
        return isinstance(self.examples.element_spec, tuple)

    @property
    def unlabelled(self) -> tf.data.Dataset:
        """The examples alone."""
        return self.examples.map(without_label)

    def training_batches(
        self, batch_size: int, with_labels: bool, with_index: bool
    ) -> tf.data.Dataset:
        """Return shuffled batches of one size, of what a method reads."""
        if with_labels and not self.has_labels:
            raise ValueError(
                "the method learns from labels, and --data has none: sort images into one "
                "subfolder per class, or add `y` to a file"
            )
        examples = self.examples if with_labels else self.unlabelled
        if with_index:
            examples = data.with_index(examples)
        bytes_each = np.prod(self.shape) * self.unlabelled.element_spec.dtype.size
        if self.count * bytes_each <= _CACHED:
            examples = examples.cache()
        batches = examples.shuffle(min(self.count, _SHUFFLED))
        return batches.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def batches(self, batch_size: int = 256) -> tf.data.Dataset:
        """Return batches of the examples, and labels if there are any, in order."""
        return self.examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def arrays(self, rows: Sequence[int]) -> np.ndarray:
        """Return some of the examples as an array."""
        wanted = {int(row) for row in rows}
        examples = enumerate(self.unlabelled.take(max(wanted) + 1))
        found = {number: one.numpy() for number, one in examples if number in wanted}
        return np.stack([found[int(row)] for row in rows])


def load_arrays(path: str) -> dict[str, np.ndarray]:
    """Return the arrays of a `.npy` or `.npz` file: `x`, and `y` if there are labels."""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path!r}")
    arrays = np.load(path, allow_pickle=False)
    if isinstance(arrays, np.ndarray):
        return {"x": arrays}
    if "x" not in arrays:
        raise ValueError(f"{path} must hold the examples as `x`. Received: arrays {list(arrays)}")
    found = {"x": np.asarray(arrays["x"])}
    if "y" in arrays:
        y = np.asarray(arrays["y"])
        if y.dtype.kind not in "iu" or y.shape != found["x"].shape[:1]:
            raise ValueError(
                f"`y` of {path} must hold one integer per example. Received: {y.dtype} of shape "
                f"{y.shape} for {len(found['x'])} examples"
            )
        found["y"] = y.astype("int64")
    return found


def without_label(example: Any, *label: Any) -> Any:
    """Return the first of the parts of an example."""
    return example
