"""The code on the pages: the names and arguments that it uses exist."""

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import keras
import pytest

import keras_ssl

ROOT = Path(__file__).resolve().parents[1]
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "```python" in page.read_text()]

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
)


def tree_of(page):
    blocks = re.findall(r"```python\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    return ast.parse("\n".join(textwrap.dedent(block) for block in blocks))


def imported(tree):
    """Keras, modules of keras_ssl and what the code imports from it, less what it assigns."""
    names = {"keras": keras} | {name: getattr(keras_ssl, name) for name in keras_ssl.__all__}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("keras_ssl"):
            module = importlib.import_module(node.module)
            names |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
    assigned = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return {name: value for name, value in names.items() if name not in assigned}


def find(node, names):
    """What a dotted name is, or `None` if it belongs to a variable of the code."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = find(node.value, names)
        if inspect.ismodule(owner) or inspect.isclass(owner):
            assert hasattr(owner, node.attr), f"line {node.lineno}: {ast.unparse(node)}"
            return getattr(owner, node.attr)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_and_arguments_exist(page):
    tree = tree_of(page)
    names = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            find(node, names)
        if isinstance(node, ast.Call) and callable(called := find(node.func, names)):
            unpacked = any(isinstance(one, ast.Starred) for one in node.args)
            if unpacked or any(one.arg is None for one in node.keywords):
                continue
            keywords = {one.arg: None for one in node.keywords}
            try:
                inspect.signature(called).bind(*node.args, **keywords)
            except TypeError as error:
                pytest.fail(f"{ast.unparse(node)}: {error}")
            except ValueError:
                pass  # a builtin that does not tell its signature


def test_every_page_of_a_method_has_code_that_trains_it():
    for page in (ROOT / "docs" / "methods").glob("*.md"):
        code = ast.unparse(tree_of(page))
        assert re.search(r"= trainers\.\w+\(", code) and ".fit(" in code, page.name
