"""The settings of a run: options of the command, of a file, and of the method."""

import argparse
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from keras_ssl.cli._arguments import DEFAULTS
from keras_ssl.cli._names import dashed, nearest
from keras_ssl.cli._parser import Parser, refuse
from keras_ssl.cli._registry import papers
from keras_ssl.cli._trainer import Option, trainer_options
from keras_ssl.trainers import SelfSupervisedModel


def settings_of(
    trainer: type[SelfSupervisedModel],
    given: Mapping[str, Any],
    rest: Sequence[str],
    config: Mapping[str, Any],
    others: Sequence[str],
) -> dict[str, Any]:
    """Return the settings of a run: given options, over those of a file, over defaults.

    Args:
        trainer: the method.
        given: options of all methods that were given.
        rest: arguments that are no options of all methods.
        config: options of a file.
        others: names of other options of the command, which are no settings.
    """
    own = method_options(trainer)
    names = [*DEFAULTS, *own]
    for name in config:
        if name not in names:
            raise ValueError(
                f"--config has {name!r}, which is no option of {trainer.__name__}."
                f"{nearest(name, names)}"
            )
    parser = method_parser(trainer)
    of_method, unknown = parser.parse_known_args(rest)
    refuse(unknown, [f"--{dashed(name)}" for name in (*names, *others)])
    settings = {**DEFAULTS, **config, **given, **vars(of_method)}
    return {**settings, "method": trainer.__name__}


def method_options(trainer: type[SelfSupervisedModel]) -> dict[str, Option]:
    """Return the options that a method has of its own."""
    options = trainer_options(trainer)
    return {name: option for name, option in options.items() if name not in DEFAULTS}


def method_parser(trainer: type[SelfSupervisedModel]) -> argparse.ArgumentParser:
    """Return a parser of the options of a method, which shows them in its help."""
    listed = "; ".join(map(str, papers(trainer)))
    parser = Parser(
        prog=f"keras-ssl pretrain --method {trainer.__name__}",
        usage="%(prog)s [options]",
        description=f"{trainer.__doc__.partition(chr(10))[0]} {listed}",
        add_help=False,
        argument_default=argparse.SUPPRESS,
    )
    group = parser.add_argument_group(f"options of {trainer.__name__}")
    for name, option in method_options(trainer).items():
        is_flag = option.hint is bool or bool in typing.get_args(option.hint)
        action = argparse.BooleanOptionalAction if is_flag else "store"
        text = option.sentence + (f" (default: {option.default})" if option.is_scalar else "")
        group.add_argument(f"--{dashed(name)}", action=action, help=text.replace("%", "%%"))
    return parser
