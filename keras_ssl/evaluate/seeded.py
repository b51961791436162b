"""Random choices that neither depend on the caller's random state nor change it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed what Keras draws from Python's generator, and restore the generator afterwards.

    That is the seeds of initializers and layers (dropout) that are made without one of their own,
    and the order of a `keras.utils.PyDataset`'s batches in `fit`.

    Args:
        seed: of Python's generator.

    Example:

    >>> import random
    >>> from keras_ssl.evaluate.seeded import seeded
    >>> with seeded(1):
    ...     first = random.random()
    >>> with seeded(1):
    ...     random.random() == first
    True
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
