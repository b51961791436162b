"""What is known of tables or series that a trainer is made for by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def no_part(name: str) -> None:
    """Say that an argument has no value yet."""


@dataclass(frozen=True)
class DataSpec:
    """Rows of a table or time series, and the constructor's arguments given for them.

    What `ImageSpec` is for images: class methods `<argument>_for(data)` of a trainer that
    `learns_from` tables or time series get one of these.

    Args:
        shape: shape of an example: `(columns,)` of a row, `(time, channels)` of a series.
        count: number of examples.
        part: function from the name of an argument of the constructor to its value.

    Example:

    >>> from keras_ssl import trainers
    >>> table = trainers.DataSpec(shape=(30,), count=569)
    >>> trainers.SCARF.encoder_for(table).output_shape
    (None, 256)
    """

    shape: tuple[int, ...]
    count: int
    part: Callable[[str], Any] = no_part
