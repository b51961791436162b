"""Write the signature of every public object, with its defaults, to a file that a test reads.

A default that changes changes what users train, so `tests/test_signatures.py` compares the package
with the file, and a change shows in review. After a change that is meant:

    python scripts/public_signatures.py
"""

import importlib
import inspect
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "tests" / "reference" / "public_signatures.txt"
NAMESPACES = [
    "augment",
    "augment.graph",
    "augment.sequence",
    "augment.tabular",
    "callbacks",
    "convert",
    "data",
    "decoding",
    "distribute",
    "evaluate",
    "graphs",
    "layers",
    "layers.graph",
    "losses",
    "networks",
    "optimizers",
    "presets",
    "samplers",
    "text",
    "trainers",
    "visualize",
]


def signatures() -> dict[str, str]:
    """Return the arguments of each public class and function, without annotations."""
    found = {}
    for namespace in NAMESPACES:
        module = importlib.import_module(f"keras_ssl.{namespace}")
        for name in sorted(module.__all__):
            entry = getattr(module, name)
            if inspect.isfunction(entry) or (
                inspect.isclass(entry) and not issubclass(entry, (dict, tuple, Exception))
            ):
                found[f"{namespace}.{name}"] = _arguments(entry)
    return found


def _arguments(entry: object) -> str:
    parameters = inspect.signature(entry).parameters.values()
    parameters = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
    text = str(inspect.Signature(parameters))
    return re.sub(r"<function (\w+) at 0x\w+>", r"\1", text)  # an address of this process


def read() -> dict[str, str]:
    """Return the signatures in the file."""
    lines = FILE.read_text().splitlines()
    pairs = (line.partition("(") for line in lines)
    return {name: f"({arguments}" for name, _, arguments in pairs}


if __name__ == "__main__":
    FILE.write_text("".join(f"{name}{one}\n" for name, one in signatures().items()))
