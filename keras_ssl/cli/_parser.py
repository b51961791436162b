"""A parser of arguments that names the nearest option."""

import argparse
from collections.abc import Iterable, Sequence

from keras_ssl.cli._names import nearest


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` whose errors are one sentence, with the nearest name.

    Args:
        **kwargs: as of `argparse.ArgumentParser`, without `allow_abbrev`.
    """

    def __init__(self, **kwargs):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> None:
        """Raise what is wrong, for `main` to print."""
        raise ValueError(message)

    def options(self) -> list[str]:
        """Return the names of all options."""
        return [name for name in self._option_string_actions if name.startswith("--")]


def refuse(rest: Sequence[str], known: Iterable[str]) -> None:
    """Raise a `ValueError` that names an argument nobody knows, and the nearest option.

    Args:
        rest: the arguments that were not understood.
        known: the names of the options that there are.
    """
    if not rest:
        return
    first = rest[0].partition("=")[0]
    if first.startswith("-"):
        raise ValueError(f"there is no option {first}.{nearest(first, known)}")
    raise ValueError(f"the argument {first!r} is of no option. `--help` shows the options")
