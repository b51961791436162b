"""Rooms import only rooms that stand below them in the list of docs/design.md."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = re.findall(r"^\| `([\w/]+)/` \|", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)


def imported_rooms(file):
    """The rooms that a module names in its import statements, wherever these stand."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "keras_ssl":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "keras_ssl.trainers.step":
            continue  # the tuples that trainers and their engine exchange
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("keras_ssl."):
            yield room_of(node.module.split(".")[1:])


def room_of(parts):
    """The room that a path lies in; the engine of the trainers is a room of its own."""
    nested = "/".join(parts[:2])
    return nested if nested in ROOMS else parts[0]


def test_the_list_names_every_room():
    folders = {path.parent.name for path in (ROOT / "keras_ssl").glob("*/__init__.py")}
    assert {room for room in ROOMS if "/" not in room} == folders


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down_the_list(room):
    above = ROOMS[: ROOMS.index(room)]
    folder = ROOT / "keras_ssl" / room
    for file in folder.rglob("*.py"):
        if room_of(file.relative_to(ROOT / "keras_ssl").parts) != room:
            continue
        assert not set(imported_rooms(file)) & set(above), file.name
