"""Python on the JAX backend, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]


def on_jax(*arguments: str, devices: int = 1) -> str:
    """Run Python on the JAX backend with a number of devices and return what it printed."""
    flags = os.environ.get("XLA_FLAGS", "")
    found = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={devices}",
        },
    )
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    return found.stdout
