"""A trainer made by its name: options from its constructor, parts from its class."""

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from keras_ssl.cli._encoders import network
from keras_ssl.cli._names import dashed
from keras_ssl.cli._parts import Named, read
from keras_ssl.cli._registry import sentences
from keras_ssl.trainers import DataSpec, ImageSpec, SelfSupervisedModel

_REQUIRED = inspect.Parameter.empty


class Option(NamedTuple):
    """An argument of the constructor of a trainer.

    Attributes:
        default: its default, or `inspect.Parameter.empty`.
        hint: its type hint.
        sentence: what the docstring says of it.
    """

    default: Any
    hint: Any
    sentence: str

    @property
    def is_scalar(self) -> bool:
        """Whether the default is a number, a text or several of them, and no part."""
        return self.default is not _REQUIRED and self.default is not None


def trainer_options(trainer: type[SelfSupervisedModel]) -> dict[str, Option]:
    """Return the arguments of the constructor of a trainer, by name."""
    hints, said = typing.get_type_hints(trainer.__init__), sentences(trainer)
    parameters = list(inspect.signature(trainer.__init__).parameters.values())[1:]
    return {
        one.name: Option(one.default, hints.get(one.name, Any), said.get(one.name, ""))
        for one in parameters
        if one.kind is not one.VAR_KEYWORD
    }


def make_trainer(
    trainer: type[SelfSupervisedModel],
    given: Mapping[str, Any],
    shape: tuple[int, ...],
    count: int,
) -> SelfSupervisedModel:
    """Return a trainer for images, tables or series.

    An argument is what was given; else what the class method `<argument>_for` returns for these
    data; else the default of the constructor.

    Args:
        trainer: the class.
        given: values of options by the names of arguments, as `_parts.read` takes them.
        shape: shape of an example: height, width and channels of an image.
        count: number of examples.
    """
    options, parts, given = trainer_options(trainer), {}, dict(given)
    check_is_argument(trainer, given)

    def part(name: str) -> Any:
        if name not in parts:
            parts[name] = value(name)
        return parts[name]

    def value(name: str) -> Any:
        if name in given:
            return _given(name)
        if hasattr(trainer, f"{name}_for"):
            return getattr(trainer, f"{name}_for")(spec)
        if options[name].default is not _REQUIRED:
            return options[name].default
        raise ValueError(
            f"{trainer.__name__} needs --{dashed(name)}: {options[name].sentence or name}"
        )

    def _given(name: str) -> Any:
        found = read(dashed(name), given[name], options[name].hint)
        if not isinstance(found, Named):
            return found
        fitting = {one: spec.shape for one in ("input_shape", "output_shape") if found.takes(one)}
        return found(**fitting)

    if trainer.learns_from == "images":
        spec = ImageSpec(shape[0], shape[2], count, part)
        # the class may want a network that was named for images of another size
        asked = network(given.pop("encoder", None), spec)
        if isinstance(asked, keras.layers.Layer):
            parts["encoder"] = asked
        else:
            spec = dataclasses.replace(spec, network=asked)
    else:
        spec = DataSpec(shape, count, part)
    return trainer(**{name: part(name) for name in options})


def check_is_argument(trainer: type[SelfSupervisedModel], given: Mapping[str, Any]) -> None:
    """Raise a `ValueError` if an option is no argument of the constructor of a trainer."""
    for name in given:
        if name not in trainer_options(trainer):
            raise ValueError(f"{trainer.__name__} takes no --{dashed(name)}")
