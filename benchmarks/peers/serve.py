"""The peer's end of the pipe to `benchmarks/measure.py`; runs in the peers' environment.

One request is one line of JSON on standard input, `{"call": name, "arguments": {...}}`; its answer
is one line, `{"value": ...}` or `{"error": traceback}`, on the file descriptor that the command
line names, so that standard output stays free for what libraries print.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any


def versions() -> dict[str, str]:
    """The versions of what is being compared with."""
    names = ("torch", "torchvision", "lightly", "torch_geometric", "pillow")
    return {name: version(name) for name in names}


def serve(functions: dict[str, Callable[..., Any]]) -> None:
    """Answers requests for `functions` until the parent closes the pipe.

    Args:
        functions: What can be called, by name; arguments and return values are plain JSON values.
    """
    functions = {"versions": versions, **functions}
    answers = os.fdopen(int(sys.argv[1]), "w")
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"value": functions[request["call"]](**request.get("arguments", {}))}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
