"""All trainers by name, and what their classes say of themselves."""

import inspect
import re
from typing import NamedTuple

import keras

from keras_ssl.cli._names import find
from keras_ssl.trainers import SelfSupervisedModel


class Paper(NamedTuple):
    """A paper of the section `Reference` of a class."""

    title: str
    url: str

    def __str__(self) -> str:
        """Return number and title, or the address of a paper that is not on arXiv."""
        number = re.search(r"arxiv\.org/abs/([\d.]+\d)", self.url)
        return f"arXiv:{number[1]} {self.title}" if number else f"{self.title}, {self.url}"


def trainer_classes() -> dict[str, type[SelfSupervisedModel]]:
    """Return the trainers of the package by name, in the order of their families and names.

    A class registers itself with Keras, which must find it again in a file; so the public trainers
    are those classes that Keras knows under the name of this package.
    """
    registered = keras.saving.get_custom_objects()
    found = {
        name.removeprefix("keras_ssl>"): one
        for name, one in registered.items()
        if inspect.isclass(one)
        and issubclass(one, SelfSupervisedModel)
        and one.__module__.startswith("keras_ssl.")
        and not one.__name__.startswith("_")
    }
    return dict(sorted(found.items(), key=lambda item: (family(item[1]), item[0].lower())))


def trainer_class(name: str) -> type[SelfSupervisedModel]:
    """Return the trainer of a name, or raise a `ValueError` with the nearest one."""
    return find("method", name, trainer_classes())


def family(trainer: type[SelfSupervisedModel]) -> str:
    """Return the family of a trainer: the folder of its module."""
    return trainer.__module__.split(".")[2]


def papers(trainer: type[SelfSupervisedModel]) -> list[Paper]:
    """Return the papers that the docstring of a trainer refers to."""
    reference = inspect.getdoc(trainer).partition("Reference:")[2]
    links = re.findall(r"\[([^\]]+)\]\(\s*([^)\s]+)\s*\)", reference)
    return [Paper(" ".join(title.split()), url) for title, url in links]


def sentences(trainer: type[SelfSupervisedModel]) -> dict[str, str]:
    """Return what the docstring of a trainer says of each argument of its constructor."""
    text = inspect.getdoc(trainer).partition("\nArgs:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", text, re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in found}
