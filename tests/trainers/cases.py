"""The cases of all trainers, and the decorators that run a test for each or some of them.

The case of a method is defined in the method's own test file, as an entry of `CASES`. The same for
the method that only the tests have, in `methods/`.
"""

import importlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.trainers.case import SHAPES, Case

FOLDER = Path(__file__).parent


def _collect() -> dict[str, Case]:
    """Import every file that defines cases."""
    found = {}
    for path in sorted(FOLDER.glob("*/*.py")):
        if not re.search(r"^CASES = \{$", path.read_text(), re.MULTILINE):
            continue
        name = ".".join(("tests", "trainers", path.parent.name, path.stem))
        cases = importlib.import_module(name).CASES
        if twice := found.keys() & cases.keys():
            raise ValueError(f"Two files define a case for {sorted(twice)}.")
        found |= cases
    return found


CASES = _collect()
REPRESENTATIVES = {case.represents: name for name, case in CASES.items() if case.represents}

if set(REPRESENTATIVES) != set(SHAPES) or len(REPRESENTATIVES) < sum(
    case.represents is not None for case in CASES.values()
):
    raise ValueError(f"Each of {SHAPES} needs exactly one case. Received: {REPRESENTATIVES}")


def each_trainer(test: Callable) -> Callable:
    """Run a test for every trainer in the default tier."""
    # the scope keeps the tests of one trainer together: they share what is costly to make
    return pytest.mark.parametrize("name", CASES, scope="module")(test)


def each_shape(test: Callable) -> Callable:
    """Run a test for one trainer of each shape in the default tier, for all others in `full`."""
    return costly(*SHAPES)(test)


def costly(
    *default: str, slow: Iterable[str] = (), names: Iterable[str] = CASES
) -> Callable[[Callable], Callable]:
    """Run a test for every trainer, in the tier that its cost allows.

    Args:
        *default: Shapes whose representatives run in the default tier.
        slow: Shapes whose representatives run in the tier `slow`. All other cases run in `full`.
        names: The cases that the test applies to.
    """
    if unknown := {*default, *slow} - set(SHAPES):
        raise ValueError(f"Expected shapes of {SHAPES}. Received: {sorted(unknown)}")
    tiers = {name: _tier_of(CASES[name].represents, default, slow) for name in names}
    parameters = [
        pytest.param(name, marks=() if tier == "default" else getattr(pytest.mark, tier))
        for name, tier in tiers.items()
    ]
    return pytest.mark.parametrize("name", parameters, scope="module")


def _tier_of(shape: str | None, default: Iterable[str], slow: Iterable[str]) -> str:
    if shape in default:
        return "default"
    return "slow" if shape in slow else "full"
