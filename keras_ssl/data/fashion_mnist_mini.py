"""The embedded image set: a part of Fashion-MNIST.

Copyright (c) 2017 Zalando SE, MIT licence: see `fashion_mnist_mini.LICENSE` beside this file.
`scripts/build_fashion_mnist_mini.py` of the project made the data file.
"""

from importlib import resources

import numpy as np

from keras_ssl.data.splits import split_ranges

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
    """Read images and labels of a split.

    Args:
        split: split string as in `tfds.load`.

    Returns:
        Images, uint8 of shape `(n, 28, 28, 1)`, and labels, int64 of shape `(n,)`.

    Raises:
        ValueError: if the split cannot be read or selects nothing.
    """
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
