"""The embedded image set, a part of Fashion-MNIST, and split strings.

Copyright (c) 2017 Zalando SE, MIT licence: see `fashion_mnist_mini.LICENSE` beside this file.
`scripts/build_fashion_mnist_mini.py` of the project made the data file.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

NAME = "fashion_mnist_mini"
SIZES = {"train": 10_000, "test": 5_000}
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_arrays(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the uint8 images `(n, 28, 28, 1)` and int64 labels `(n,)` of a TFDS split string."""
    import tensorflow_datasets as tfds

    split_infos = tfds.core.SplitDict(
        [
            tfds.core.SplitInfo(name=name, shard_lengths=[size], num_bytes=0)
            for name, size in SIZES.items()
        ]
    )
    ranges = split_ranges(split, split_infos)
    with resources.files("keras_ssl.data").joinpath(f"{NAME}.npz").open("rb") as file:
        members = np.load(file, allow_pickle=False)
        images = [members[f"{name}_images"][start:stop] for name, start, stop in ranges]
        labels = [members[f"{name}_labels"][start:stop] for name, start, stop in ranges]
    return np.concatenate(images)[..., None], np.concatenate(labels).astype(np.int64)


def split_ranges(split: str, split_infos: tfds.core.SplitDict) -> list[tuple[str, int, int]]:
    """Translate a TFDS split string to tuples (split name, first image, image after the last).

    Raise a `ValueError` if it cannot be read, is not a split of the set, or selects nothing.
    """
    import tensorflow_datasets as tfds

    sizes = {name: info.num_examples for name, info in split_infos.items()}
    expected = (
        f"Expected one of {list(sizes)}, a slice of one ('train[:1000]', 'train[50%:]'), or "
        f"several joined by '+'. Received: split={split!r}"
    )
    try:
        parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(split_infos)
    except ValueError as error:
        reason = str(error).strip("\"'").splitlines()[-1]
        raise ValueError(f"`split` cannot be read: {reason} {expected}") from error
    ranges = [
        (part.splitname, part.from_ or 0, sizes[part.splitname] if part.to is None else part.to)
        for part in parts
    ]
    if not any(stop > start for _, start, stop in ranges):
        raise ValueError(f"`split` selects no images of {sizes}. {expected}")
    return ranges
