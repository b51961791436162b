"""The settings of a run: options of the command, of a file, and of the method."""

import argparse
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_ssl import distribute
from keras_ssl.cli._encoders import encoder_names
from keras_ssl.cli._images import DATA_HELP
from keras_ssl.cli._names import nearest
from keras_ssl.cli._parser import Parser, refuse
from keras_ssl.cli._registry import papers
from keras_ssl.cli._trainer import Option, dashed, trainer_options
from keras_ssl.trainers import SelfSupervisedModel

PRECISIONS = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}

# options of all methods: they are the settings of a run, beside those of the method
DEFAULTS = {
    "method": None,
    "data": None,
    "split": "train",
    "image_size": None,
    "channels": None,
    "encoder": None,
    "epochs": 100,
    "batch_size": None,
    "optimizer": "AdamW",
    "learning_rate": 1e-3,
    "learning_rate_schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": None,
    "seed": 0,
    "mixed_precision": None,
    "strategy": "auto",
}
# what config.json of a run has besides
_RECORDED = ("keras_ssl", "finished", "images")


def add_setting_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of all methods to a parser that leaves out what is not given."""

    def add(name: str, text: str, **kwargs: Any) -> None:
        default = DEFAULTS[name]
        text += "" if default is None else f" ({default})"
        parser.add_argument(f"--{dashed(name)}", help=text, **kwargs)

    add("method", "name of a method; `keras-ssl methods` lists them")
    add("data", DATA_HELP)
    add("split", "split of a set of TensorFlow Datasets")
    add("image_size", "height and width of the images (their own; of a folder 64)", type=int)
    add("channels", "of the images of a folder (3)", type=int, choices=[1, 3, 4])
    add("encoder", f"{', '.join(encoder_names())}; or a .keras file")
    add("epochs", "how often each image is seen", type=int)
    add("batch_size", "over all devices (256, or all images if they are fewer)", type=int)
    add("optimizer", "name of an optimizer of Keras or keras_ssl")
    add("learning_rate", "the highest, after the warm-up", type=float)
    add("learning_rate_schedule", "after the warm-up", choices=["cosine", "constant"])
    add("warmup", "share of all steps in which the learning rate rises", type=float)
    add("weight_decay", "(that of the optimizer)", type=float)
    add("seed", "of weights, views and the order of images", type=int)
    choices = {"nargs": "?", "const": "float16", "choices": list(PRECISIONS)}
    add("mixed_precision", "compute in float16, or in bfloat16", **choices)
    add("strategy", "devices", choices=distribute.STRATEGIES)


def read_config(path: str | None) -> dict[str, Any]:
    """Return the options in a file of JSON, by the names of arguments."""
    if path is None:
        return {}
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"--config {path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(
            f'--config {path} must hold options by name, as {{"epochs": 10}}. Received: {config}'
        )
    options = {key.replace("-", "_"): value for key, value in config.items()}
    return {key: value for key, value in options.items() if key not in _RECORDED}


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
