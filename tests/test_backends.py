"""The portable rooms pass their own tests on the JAX backend too."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "room",
    [
        "ops",
        # JAX compiles every operation for each shape
        pytest.param("optimizers", marks=pytest.mark.slow),
        pytest.param("layers", marks=pytest.mark.slow),
        pytest.param("layers/graph", marks=pytest.mark.slow),
        pytest.param("graphs", marks=pytest.mark.slow),
        pytest.param("losses", marks=pytest.mark.slow),
        pytest.param("augment", marks=pytest.mark.slow),
        pytest.param("networks", marks=pytest.mark.slow),
    ],
)
def test_room_on_jax(room):
    if keras.backend.backend() == "jax":
        pytest.skip("this is that run")
    pytest.importorskip("jax")
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            f"tests/{room}",
            *(["--ignore=tests/layers/graph"] if room == "layers" else []),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
