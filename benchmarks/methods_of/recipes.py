"""What a user sets, by method; both sides train with it.

Structure of heads, temperatures, momentum and sizes of queues are those of Lightly's own benchmark
on CIFAR-10, where it has the method, else the paper's. Widths are smaller, as the encoder is (64
features in place of 512). Optimizer and rate are those of `benchmarks/cifar10.py` for every method.
None was searched for. `first_epochs` come on top of the epochs of all methods: DeepCluster-v2 does
not learn in its first.
"""

from typing import Any

SHARED = {
    "batch_size": 256,
    "width": 16,
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "epsilon": 1e-7,
}

_DECOUPLED = {"projector": (128, 128), "temperature": 0.1}

RECIPES: dict[str, dict[str, Any]] = {
    "SimCLR": {"projector": (128, 128), "temperature": 0.5},
    "DCL": _DECOUPLED,
    "DCLW": _DECOUPLED,
    "MoCo": {"projector": (128, 128), "temperature": 0.1, "queue": 4096, "momentum": 0.99},
    "MoCoV3": {
        "projector": (256, 128),
        "predictor": 256,
        "temperature": 0.2,
        "momentum": 0.99,
    },
    "NNCLR": {"projector": (512, 128), "predictor": 1024, "temperature": 0.5, "queue": 4096},
    "InstanceDiscrimination": {
        "projector": (128,),
        "temperature": 0.07,
        "noise_samples": 4096,
    },
    "CPC": {
        "patch": 16,
        "strides": 8,
        "context": 64,
        "steps": (1, 2),
        "directions": ("down", "up", "right", "left"),
    },
    "DeepInfoMax": {"map_layer": "stage2_block1_output", "critic": 128},
    "SupCon": {"projector": (128, 128), "temperature": 0.1},
    "SwAV": {"projector": (128, 128), "prototypes": 128, "smallest_crop": 0.14},
    "DeepClusterV2": {
        "projector": (128, 128),
        "prototypes": (128, 128, 128),
        "smallest_crop": 0.14,
        "first_epochs": 1,
    },
    "BarlowTwins": {"projector": (512, 512)},
    "VICReg": {"projector": (512, 512)},
    "BYOL": {"projector": (256, 128), "predictor": 256, "momentum": 0.99},
    "SimSiam": {"projector": (512, 512), "predictor": 128},
    "DINO": {
        "projector": (512, 64),
        "prototypes": 512,
        "smallest_crop": 0.14,
        "momentum": 0.99,
    },
    "MSN": {
        "projector": (256, 256, 128),
        "prototypes": 256,
        "focal_views": 2,
        "masked": 0.15,
        "momentum": 0.99,
    },
    "KnowledgeDistillation": {"teacher_width": 32, "teacher_epochs": 2, "temperature": 4.0},
}
