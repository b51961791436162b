"""Images as tables and as series, and the corruption of such a table."""

import numpy as np

from keras_ssl import augment
from tests.trainers.case import zeros
from tests.trainers.small import scaled_images

BAD_TABLES = (
    (zeros(64, 783), "784"),
    (zeros(64, 28, 28), r"\(batch, features\)"),
    (np.full((64, 784), np.nan, "float32"), "missing or infinite.*784 columns"),
    (zeros(0, 784), "no data"),
)


def adapted(rate=0.6, same_count=True):
    """The corruption, adapted to the small images: data of every form can follow."""
    corruption = augment.tabular.RandomMarginalCorruption(rate, same_count, 64, seed=0)
    corruption.adapt(scaled_images())
    return corruption


def series():
    """Images as series of 28 rows."""
    return scaled_images().reshape(-1, 28, 28)
