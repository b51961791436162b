"""Every name in the table of Keras' and our names exists."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "keras_names.md"
NAMES = sorted(set(re.findall(r"`((?:keras|keras_ssl)\.[\w.]+)", PAGE.read_text())))


@pytest.mark.parametrize("name", NAMES)
def test_the_name_can_be_imported(name):
    path, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(path), attribute)
