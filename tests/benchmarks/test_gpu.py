"""The benchmark for GPUs on small sizes: operations by formula, failures, our side on JAX."""

import json
import sys
from pathlib import Path

import keras
import pytest

IS_JAX = keras.backend.backend() == "jax"
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    return gpu


@pytest.mark.skipif(IS_JAX, reason="the same on every backend")
def test_operations_are_those_that_are_published(gpu):
    # multiplications and additions: torchvision says 4.09 G without additions, timm 17.58 G
    assert gpu.resnet_operations(224, [3, 4, 6, 3], 64) == pytest.approx(2 * 4.09e9, rel=0.01)
    patches = 2 * 196 * 768 * 768
    of_blocks = gpu.transformer_operations(197, 768, 12, 12)
    assert patches + of_blocks == pytest.approx(2 * 17.58e9, rel=0.01)


@pytest.mark.skipif(IS_JAX, reason="the same on every backend")
def test_a_side_that_fails_leaves_the_others(gpu, monkeypatch, capsys):
    good = {"seconds": [2.0, 1.0, 4.0], "first": 3.0, "bytes": 5e9, "device": "NVIDIA H200"}
    good |= {"parameters": None, "versions": {}}
    programs = {
        "fails": "raise MemoryError('out of memory')",
        "hangs": "import time; time.sleep(60)",
        "runs": f"print('libraries print too'); print({json.dumps(json.dumps(good))})",
    }
    commands = {name: [sys.executable, "-c", one] for name, one in programs.items()}
    monkeypatch.setattr(gpu, "_commands", lambda: commands)
    found = gpu.main(["--parts", "knn", "nt_xent", "--part-seconds", "1.5"])
    lines = [one.split() for one in capsys.readouterr().out.splitlines() if " runs " in one]
    counts = {"knn": 2 * 10**6 * 4096 * 256, "nt_xent": 6 * 65536**2 * 128}
    for (part, count), line in zip(counts.items(), lines, strict=True):
        assert found[part]["fails"]["failed"] == "MemoryError: out of memory"
        assert found[part]["hangs"]["failed"] == "not done after 2 s"
        share = 100 * count / 2 / 989e12
        expected = [part, "runs", "2", "3.0", "5.00", f"{count / 2e12:.3g}", f"{share:.1f}", "%"]
        assert line == expected


@pytest.mark.skipif(not IS_JAX, reason="our side runs on JAX")
@pytest.mark.parametrize(
    "part",
    [
        *("nt_xent", "knn", "ddim"),
        *(pytest.param(part, marks=pytest.mark.full) for part in ("simclr", "mae")),
    ],
)
def test_our_side_runs_on_small_sizes(gpu, part):
    import gpu_parts

    policy = keras.config.dtype_policy()
    try:
        found = gpu_parts.PARTS[part]({**gpu.SMALL[part], "repeats": 2})
    finally:
        keras.config.set_dtype_policy(policy)
    assert len(found["seconds"]) == 2 and 0 < min(found["seconds"]) < found["first"]
    assert gpu.operations(part, gpu.SMALL[part]) > 0


@pytest.mark.full
@pytest.mark.skipif(IS_JAX, reason="starts processes of the JAX backend")
def test_both_sides_print_their_lines(gpu, capsys):
    pytest.importorskip("jax")
    found = gpu.main(["--small", "--repeats", "1", "--part-seconds", "300", "--minutes", "30"])
    for part in gpu.SMALL:
        assert found[part]["keras_ssl"]["device"] == "cpu", found[part]
        assert all("failed" not in run for run in found[part].values()), found[part]
    assert "not the same network" not in capsys.readouterr().out
