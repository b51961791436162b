#!/bin/sh
# Makes the peers' own virtual environment, benchmarks/peers/.venv, from requirements.txt.
# Apart from ours, because PyTorch and TensorFlow do not always agree on the versions they need.
# PYTHON names the interpreter to make it with (default: python3).
set -eu
cd "$(dirname "$0")"

"${PYTHON:-python3}" -m venv --clear .venv
.venv/bin/python -m pip install --disable-pip-version-check --requirement requirements.txt
# An environment that can not import what it is for is found out here, not in a measurement.
.venv/bin/python - <<'CHECK'
import torchvision_cpu  # noqa: F401
import lightly.transforms
import torch
import torch_geometric.nn
import torchvision

print("ready: torch", torch.__version__, "torchvision", torchvision.__version__)
CHECK
