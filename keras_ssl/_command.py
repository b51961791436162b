"""Whether this process is the command line."""

import sys
from pathlib import Path


def is_command() -> bool:
    """Return whether this process was started as `keras-ssl` or `python -m keras_ssl`."""
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    if program == "-m":  # which Python puts there until it has found the module
        after = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else []
        return after[:1] == ["keras_ssl"]
    return Path(program).name in ("keras-ssl", "keras-ssl.exe")
