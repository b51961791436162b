"""Layers, losses, optimizers and augmentation pass their own tests on the JAX backend too."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "folders",
    [
        "ops",
        # JAX compiles every operation for each shape
        pytest.param("layers", marks=pytest.mark.slow),
        pytest.param("losses", marks=pytest.mark.slow),
        pytest.param("augment networks", marks=pytest.mark.slow),
        pytest.param("optimizers graphs", marks=pytest.mark.slow),
    ],
)
def test_folders_on_jax(folders):
    if keras.backend.backend() == "jax":
        pytest.skip("this is that run")
    pytest.importorskip("jax")
    paths = [f"tests/{folder}" for folder in folders.split()]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *paths],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            # most of the time goes into compiling what runs once
            "XLA_FLAGS": "--xla_backend_optimization_level=0"
            " --xla_llvm_disable_expensive_passes=true",
        },
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
