"""Start the examples as a user does: in a process of their own, in a folder elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(example: str, *arguments: str, cwd: Path, workers: int = 0) -> subprocess.Popen:
    """Start `examples/<example>`; its output and errors come in one stream of text.

    With `workers`, the launcher starts it so many times, as one cluster.
    """
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "KERAS_BACKEND": "tensorflow",
        # the tests share the processors with one another
        "OMP_NUM_THREADS": "1",
    }
    launcher = ["-m", "keras_ssl.distribute.launch", "--workers", str(workers)] if workers else []
    return subprocess.Popen(
        [sys.executable, *launcher, str(ROOT / "examples" / example), *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(example: str, *arguments: str, cwd: Path, workers: int = 0) -> str:
    """Run an example to its end and return what it printed; fail if it failed."""
    process = start(example, *arguments, cwd=cwd, workers=workers)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed[-5000:]
    return printed
