"""Training and evaluation on a GPU: ours on JAX beside PyTorch, and the share of the chip's peak.

    python benchmarks/gpu.py            # on a machine with CUDA, JAX and PyTorch; under 8 minutes
    python benchmarks/gpu.py --small    # the same on small sizes, on a CPU

- `simclr`: a step of SimCLR with ResNet-50 on pairs of views of 224x224, bfloat16, SGD.
- `mae`: a step of MAE with ViT-B/16 on images of 224x224, bfloat16, AdamW.
- `nt_xent`: NT-Xent of 65,536 embeddings and its gradient, float32; ours in tiles.
- `knn`: the class of queries by 20 neighbours among 1,000,000 features, from arrays to an array.
- `ddim`: images of 32x32x4 by DDIM with a diffusion transformer, DiT-B/2, bfloat16.

Ours is `fit`, `losses.NTXent`, `evaluate.knn_predict` and `Diffusion.sample`. PyTorch runs channels
last where there are convolutions, with `torch.autocast` and `torch.compile`. Inputs of steps lie on
the device. Each part of each side has a process of its own, one after the other: what fails, runs
out of memory or out of time is reported, and the others go on. PyTorch runs in the Python that
KERAS_SSL_PEER_PYTHON names, or in this one.

Operations are counted by formula from the shapes, the same for both sides, a product and its sum as
two; a backward pass is twice the forward pass. What is computed again is not counted. The peak is
that of dense products in bfloat16 by the maker's data sheet, whatever the precision of a part.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import machine

HERE = Path(__file__).parent

# tera-operations per second of dense products in bfloat16 (float16 where a chip has no bfloat16)
PEAKS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10": 125,
    "V100": 125,
    "T4": 65,
    "4090": 165,
}

SIZES = {
    "simclr": {
        "size": 224,
        "blocks": [3, 4, 6, 3],
        "width": 64,
        "pairs": 128,
        "head": [2048, 128],
        "steps": 10,
    },
    "mae": {
        "size": 224,
        "patch": 16,
        "encoder": [768, 12, 12],
        "decoder": [512, 8, 16],
        "batch": 256,
        "steps": 10,
    },
    "nt_xent": {"embeddings": 65536, "dim": 128, "chunk_size": 4096},
    "knn": {"features": 1_000_000, "queries": 4096, "dim": 256, "classes": 1000, "k": 20},
    "ddim": {
        "shape": [32, 32, 4],
        "patch": 2,
        "network": [768, 12, 12],
        "images": 64,
        "steps": 50,
    },
}
SMALL = {
    "simclr": {
        "size": 32,
        "blocks": [1, 1, 1, 1],
        "width": 4,
        "pairs": 2,
        "head": [16, 8],
        "steps": 1,
    },
    "mae": {
        "size": 32,
        "patch": 8,
        "encoder": [16, 1, 2],
        "decoder": [8, 1, 2],
        "batch": 4,
        "steps": 1,
    },
    "nt_xent": {"embeddings": 64, "dim": 8, "chunk_size": 16},
    "knn": {"features": 256, "queries": 16, "dim": 8, "classes": 4, "k": 5},
    "ddim": {"shape": [8, 8, 4], "patch": 2, "network": [16, 1, 2], "images": 2, "steps": 3},
}


def resnet_operations(size: int, blocks: list[int], width: int) -> float:
    """Operations of a forward pass of a ResNet of bottleneck blocks on an image."""

    def convolution(side: int, kernel: int, inputs: int, outputs: int) -> float:
        return 2 * side**2 * kernel**2 * inputs * outputs

    side = -(-size // 2)
    total = convolution(side, 7, 3, width)
    side, inputs = -(-side // 2), width
    for stage, count in enumerate(blocks):
        hidden = width * 2**stage
        for block in range(count):
            before, side = side, side if block or not stage else -(-side // 2)
            total += convolution(before, 1, inputs, hidden) + convolution(side, 3, hidden, hidden)
            total += convolution(side, 1, hidden, 4 * hidden)
            if not block:
                total += convolution(side, 1, inputs, 4 * hidden)
            inputs = 4 * hidden
    return total


def transformer_operations(tokens: int, width: int, depth: int, _heads: int) -> float:
    """Operations of a forward pass of a transformer's blocks on a sequence."""
    return depth * (24 * tokens * width**2 + 4 * tokens**2 * width)


def operations(part: str, sizes: dict[str, Any]) -> float:
    """Operations of one step or call of a part."""
    if part == "simclr":
        views, (hidden, dim) = 2 * sizes["pairs"], sizes["head"]
        head = 2 * (32 * sizes["width"] * hidden + hidden * dim)
        of_views = views * (
            resnet_operations(*(sizes[name] for name in ("size", "blocks", "width"))) + head
        )
        return 3 * (of_views + 2 * views**2 * dim)
    if part == "mae":
        patches, pixels = (sizes["size"] // sizes["patch"]) ** 2, 3 * sizes["patch"] ** 2
        width, decoder_width = sizes["encoder"][0], sizes["decoder"][0]
        visible = patches - round(0.75 * patches)
        seen = transformer_operations(visible + 1, *sizes["encoder"])
        decoded = transformer_operations(patches + 1, *sizes["decoder"])
        linear = patches * pixels * width + (visible + 1) * width * decoder_width
        linear += (patches - visible) * decoder_width * pixels
        return 3 * sizes["batch"] * (seen + decoded + 2 * linear)
    if part == "nt_xent":
        return 6 * sizes["embeddings"] ** 2 * sizes["dim"]
    if part == "knn":
        return 2 * sizes["features"] * sizes["queries"] * sizes["dim"]
    rows, columns, channels = sizes["shape"]
    tokens, pixels = rows * columns // sizes["patch"] ** 2, channels * sizes["patch"] ** 2
    width, depth, _ = sizes["network"]
    blocks = transformer_operations(tokens, *sizes["network"]) + depth * 12 * width**2
    forward = blocks + 4 * tokens * pixels * width + 2 * (256 + 3 * width) * width
    return sizes["images"] * sizes["steps"] * forward


def run_side(command: list[str], seconds: float, **environment: str) -> dict[str, Any]:
    """Runs one part of one side and returns what it printed, or `{"failed": why}`."""
    try:
        found = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=HERE,
            env={**os.environ, **environment},
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {seconds:.0f} s"}
    if found.returncode:
        lines = [line for line in found.stderr.splitlines() if line.strip()]
        told = [line for line in lines if "Error" in line or "RESOURCE_EXHAUSTED" in line]
        return {"failed": (told or lines or [f"exit code {found.returncode}"])[-1].strip()[:200]}
    return json.loads(found.stdout.splitlines()[-1])


def _commands() -> dict[str, list[str]]:
    """How the sides are started; PyTorch's is missing where there is no PyTorch."""
    sides = {"keras_ssl": [sys.executable, "gpu_parts.py"]}
    theirs = os.environ.get("KERAS_SSL_PEER_PYTHON")
    if theirs is None and importlib.util.find_spec("torch") is not None:
        theirs = sys.executable
    if theirs is not None:
        sides["PyTorch"] = [theirs, "peers/gpu_torch.py"]
    return sides


def _peak(device: str) -> float | None:
    """The peak of a chip by its name, in operations per second."""
    known = [peak for name, peak in PEAKS.items() if name.lower() in device.lower()]
    return 1e12 * known[0] if known else None


def _line(part: str, side: str, run: dict[str, Any], count: float, peak: float | None) -> str:
    if "failed" in run:
        return f"{part:9}{side:11}failed: {run['failed']}"
    seconds = sorted(run["seconds"])[len(run["seconds"]) // 2]
    rate = count / seconds
    share = "" if peak is None else f"{100 * rate / peak:8.1f} %"
    memory = "" if run["bytes"] is None else f"{run['bytes'] / 1e9:10.2f}"
    measured = f"{seconds:12.4g}{run['first']:10.1f}{memory:>10}{rate / 1e12:10.3g}{share:>10}"
    return f"{part:9}{side:11}{measured}"


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Runs all parts of both sides, printing a line for each, and returns what they measured."""
    start, sides = time.monotonic(), _commands()
    if "PyTorch" not in sides:
        print("PyTorch: left out, since neither KERAS_SSL_PEER_PYTHON nor this Python has it")
    sizes = SMALL if arguments.small else SIZES
    head = f"{'part':9}{'side':11}{'seconds':>12}{'first':>10}{'GB':>10}{'TFLOP/s':>10}{'peak':>10}"
    print(head, flush=True)
    found: dict[str, dict[str, Any]] = {part: {} for part in arguments.parts}
    for part in arguments.parts:
        count = operations(part, sizes[part])
        for side, command in sides.items():
            left = 60 * arguments.minutes - (time.monotonic() - start)
            if left < 5:
                run = {"failed": "no time left"}
            else:
                settings = json.dumps({**sizes[part], "repeats": arguments.repeats})
                run = run_side(
                    [*command, part, settings],
                    min(left, arguments.part_seconds),
                    KERAS_BACKEND="jax",
                    # so that the other side's process finds memory, and the peak is what was used
                    XLA_PYTHON_CLIENT_PREALLOCATE="false",
                )
            peak = _peak(run.get("device", ""))
            if arguments.peak_tflops is not None:
                peak = 1e12 * arguments.peak_tflops
            found[part][side] = {**run, "operations": count}
            print(_line(part, side, run, count, peak), flush=True)
        counts = {run["parameters"] for run in found[part].values() if run.get("parameters")}
        if len(counts) > 1:
            print(f"{part}: not the same network, {sorted(counts)} parameters")
    return found


def main(given: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--parts", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=7.5, help="what begins later is left out")
    parser.add_argument("--part-seconds", type=float, default=110, help="the most of one process")
    parser.add_argument("--peak-tflops", type=float, help="of the chip, if the table lacks it")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args(given)
    for name, value in machine().items():
        print(f"{name:28}{value}")
    found = measure(arguments)
    runs = [run for of_part in found.values() for run in of_part.values()]
    told = {f"{run['device']}, {run['versions']}" for run in runs if "device" in run}
    print("\n".join(sorted(told)))
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "runs": found}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))
    return found


if __name__ == "__main__":
    main()
