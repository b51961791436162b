"""What a user sets, by method; both sides train with it.

Structure of heads, temperatures, momentum and sizes of queues are those of Lightly's own benchmark
on CIFAR-10, where it has the method, else the paper's; widths are a quarter of those, as the
encoder's features are (128 in place of 512). Optimizer and rate are those of
`benchmarks/cifar10.py` for every method. None was searched for.
"""

from typing import Any

SHARED = {
    "batch_size": 256,
    "width": 16,
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "epsilon": 1e-7,
}

_SIMCLR = {"projector": (128, 128), "temperature": 0.1}

RECIPES: dict[str, dict[str, Any]] = {
    "SimCLR": {"projector": (128, 128), "temperature": 0.5},
    "DCL": _SIMCLR,
    "DCLW": _SIMCLR,
    "MoCo": {
        "projector": (128, 128),
        "temperature": 0.1,
        "queue": 4096,
        "momentum": 0.99,
    },
    "MoCoV3": {
        "projector": (256, 128),
        "predictor": 256,
        "temperature": 0.2,
        "momentum": 0.99,
    },
    "BYOL": {"projector": (256, 128), "predictor": 256, "momentum": 0.99},
    "SimSiam": {"projector": (512, 512), "predictor": 128},
    "BarlowTwins": {"projector": (512, 512)},
    "VICReg": {"projector": (512, 512)},
}
