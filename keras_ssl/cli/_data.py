"""Data as the method of a run reads them."""

from collections.abc import Mapping
from typing import Any

from keras_ssl.cli._examples import Examples
from keras_ssl.cli._images import read_images
from keras_ssl.cli._names import dashed
from keras_ssl.cli._numbers import AXES, read_numbers
from keras_ssl.trainers import SelfSupervisedModel

# options that only one kind of data has
_OF_IMAGES = ("image_size", "channels")
_OF_NUMBERS = ("label_column",)


def check_takes_data(trainer: type[SelfSupervisedModel]) -> None:
    """Raise a `ValueError` if a trainer learns from what the command line cannot read."""
    if trainer.learns_from not in ("images", *AXES):
        name = trainer.__name__
        raise ValueError(
            f"{name} learns from {trainer.learns_from}, and not from images, tables or series in a "
            f"file or folder: train it in Python with keras_ssl.trainers.{name}"
        )


def read_data(
    trainer: type[SelfSupervisedModel], settings: Mapping[str, Any], needs_labels: bool = True
) -> Examples:
    """Read the data that a trainer learns from.

    Args:
        trainer: the class.
        settings: the settings of a run: `"data"`, `"split"` and so on.
        needs_labels: whether a table must have the column of labels that the settings name.
    """
    kind = trainer.learns_from
    for name in _OF_NUMBERS if kind == "images" else _OF_IMAGES:
        if settings[name] is not None:
            raise ValueError(
                f"{trainer.__name__} learns from {kind}, which have no --{dashed(name)}"
            )
    if kind == "images":
        names = ("data", "split", "image_size", "channels")
        return read_images(*(settings[name] for name in names))
    return read_numbers(kind, settings["data"], settings["label_column"], needs_labels)
