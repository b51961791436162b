import importlib
import sys
import types
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "keras_ssl"


def test_distribute_does_not_load_trainers(monkeypatch):
    """Imported anew, in a package without its `__init__`, which imports everything."""
    loaded = [name for name in sys.modules if name.partition(".")[0] == "keras_ssl"]
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    bare = types.ModuleType("keras_ssl")
    bare.__path__ = [str(PACKAGE)]
    monkeypatch.setitem(sys.modules, "keras_ssl", bare)
    importlib.import_module("keras_ssl.distribute")
    found = {name.split(".")[1] for name in sys.modules if name.startswith("keras_ssl.")}
    assert "distribute" in found and found <= {"checks", "distribute", "ops"}
