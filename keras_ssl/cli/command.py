"""The command `keras-ssl`: reads its arguments, and says in one sentence what is wrong."""

import argparse
import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

import keras_ssl
from keras_ssl.cli._arguments import COMMANDS
from keras_ssl.cli._config import read_config
from keras_ssl.cli._names import find
from keras_ssl.cli._parser import Parser, refuse
from keras_ssl.version import __version__

# errors of the user, raised by the command line, the trainers and the data
_USER_ERRORS = (ValueError, TypeError, OSError, RuntimeError, ImportError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `keras-ssl`.

    Args:
        arguments: the arguments behind the name of the program; those of this process by default.

    Returns:
        The exit status: 0, or 2 if something was wrong, which is then printed in one sentence, or
        130 if the user interrupted it.

    Example:

    >>> from keras_ssl import cli
    >>> cli.main(["methods", "--family", "clustering"])
    method         family      learns from  paper
    DeepClusterV2  clustering  images       arXiv:2006.09882 Unsupervised Learning of ...
                                            arXiv:1807.05520 Deep Clustering for ...
    SwAV           clustering  images       arXiv:2006.09882 Unsupervised Learning of ...
    0
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    try:
        if arguments and not arguments[0].startswith("-"):
            find("command", arguments[0], COMMANDS)
        known, rest = _parser().parse_known_args(arguments)
        with _quiet(debug):
            if not _is_answered(known, rest):
                _run(known, rest)
        return 0
    except KeyboardInterrupt:
        print("keras-ssl: interrupted", file=sys.stderr)
        return 130
    except _USER_ERRORS as error:
        if debug:
            raise
        print(f"keras-ssl: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="keras-ssl",
        description="Train an encoder on images without labels, and use its features.",
        epilog="`keras-ssl COMMAND --help` shows the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"keras_ssl {__version__}")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", required=True
    )
    for name, add_arguments in COMMANDS.items():
        summary = add_arguments.__doc__
        command = commands.add_parser(
            name, help=summary, description=summary, add_help=name != "pretrain"
        )
        add_arguments(command)
        command.add_argument("--debug", action="store_true", help="show tracebacks and all logs")
        command.set_defaults(parser=command)
    return parser


def _is_answered(known: argparse.Namespace, rest: Sequence[str]) -> bool:
    """Say what can be said before Keras is imported; return whether nothing is left to do."""
    if known.command != "pretrain":
        refuse(rest, known.parser.options())
        return False
    given = {**read_config(vars(known).get("config")), **vars(known)}
    if "help" in given:
        known.parser.print_help()
        return "method" not in given
    for option in ("method", "data", "out"):
        if given.get(option) is None:
            raise ValueError(f"--{option} is needed. `keras-ssl pretrain --help` says what it is")
    return False


def _run(known: argparse.Namespace, rest: Sequence[str]) -> None:
    for name in keras_ssl.__all__:  # all that files of models may name is imported
        getattr(keras_ssl, name)
    command = importlib.import_module(f"keras_ssl.cli.{known.command}")
    if known.command == "pretrain":  # the options of a method are among the rest
        command.run(known, rest)
    else:
        command.run(known)


@contextlib.contextmanager
def _quiet(debug: bool) -> Iterator[None]:
    """Show no logs of TensorFlow and Keras, and warnings as one line each."""
    if debug:
        yield
        return
    logger = logging.getLogger("tensorflow")
    level, shown = logger.level, warnings.formatwarning
    logger.setLevel(logging.ERROR)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.formatwarning = lambda message, *_: f"keras-ssl: {' '.join(str(message).split())}\n"
    try:
        yield
    finally:
        logger.setLevel(level)
        warnings.formatwarning = shown
