"""What a user sets, by method; both sides train with it.

Structure of heads, temperatures, momentum and sizes of queues are those of Lightly's own benchmark
on CIFAR-10, where it has the method, else the paper's. Widths are smaller, as the encoder is (64
features in place of 512). Optimizer and rate are those of `benchmarks/cifar10.py` for every method.
None was searched for. `first_epochs` come on top of the epochs of all methods: DeepCluster-v2 does
not learn in its first.

Methods that hide patches train a vision transformer of four blocks, with the same optimizer but
another rate, which rises first, another decay, and smaller batches: in so few epochs, more steps
matter more than larger ones. `epochs` is their budget in passes over the images, in place of that
of the other methods: what takes about ten minutes on two cores.
"""

from typing import Any

SHARED = {
    "batch_size": 256,
    "width": 16,
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "epsilon": 1e-7,
    "warmup": 0.0,
}

# of methods whose recipe says nothing else
EPOCHS = 3

# of encoders that have learned nothing
WIDTHS = {"random encoder": SHARED["width"], "random ViT": 96}

_DECOUPLED = {"projector": (128, 128), "temperature": 0.1}

VIT_BATCH_SIZE = 64
_VIT = {
    "width": 96,
    "batch_size": VIT_BATCH_SIZE,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "warmup": 0.1,
}
_TOKENS = {**_VIT, "hidden": 0.4, "smallest": 4, "codes": 512, "code_width": 16}
_MSN = {
    "projector": (256, 256, 128),
    "prototypes": 256,
    "focal_views": 2,
    "masked": 0.15,
    "momentum": 0.99,
}
_HEAD = {"projector": (512, 64), "prototypes": 512, "smallest_crop": 0.14, "momentum": 0.99}

RECIPES: dict[str, dict[str, Any]] = {
    "SimCLR": {"projector": (128, 128), "temperature": 0.5},
    "DCL": _DECOUPLED,
    "DCLW": _DECOUPLED,
    "MoCo": {"projector": (128, 128), "temperature": 0.1, "queue": 4096, "momentum": 0.99},
    "DenseCL": {"projector": (128, 128), "temperature": 0.1, "queue": 4096, "momentum": 0.99},
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
    "VICRegL": {"projector": (512, 512), "local_projector": (128, 128), "matches": (8, 2)},
    "TiCo": {"projector": (512, 256), "momentum": 0.99},
    "FroSSL": {"projector": (512, 512)},
    "WMSE": {"projector": (512, 64), "sub_batch": 128},
    "LeJEPA": {"projector": (512, 64), "directions": 1024},
    "MMCR": {"projector": (512, 128), "momentum": 0.99},
    "BYOL": {"projector": (256, 128), "predictor": 256, "momentum": 0.99},
    "SimSiam": {"projector": (512, 512), "predictor": 128},
    "DINO": _HEAD,
    "MSN": _MSN,
    "PMSN": _MSN,
    "KnowledgeDistillation": {"teacher_width": 32, "teacher_epochs": 2, "temperature": 4.0},
    "RotationPrediction": {"smallest_crop": 0.6, "epochs": 6},
    "RelativePatchPosition": {"patch": 6, "gap": 4, "jitter": 2, "head": 512, "epochs": 16},
    "JigsawPuzzle": {"patch": 6, "permutations": 100, "head": 512, "epochs": 30},
    "Colorization": {"smallest_crop": 0.6, "epochs": 6},
    "ContextEncoder": {
        "block": 16,
        "decoder": (32, 64),
        "discriminator": (32, 64),
        "smallest_crop": 0.6,
        "adversary": 0.001,
        "epochs": 12,
    },
    "Autoencoder": {"decoder": (32, 64), "epochs": 6},
    "VAE": {"decoder": (32, 64), "latent": 64, "deviation": 25.5, "epochs": 6},
    "Diffusion": {"batch_size": 128, "epochs": 4},
    "MAE": {**_VIT, "hidden": 0.75, "decoder": (48, 2, 4), "epochs": 6},
    "SimMIM": {**_VIT, "hidden": 0.6, "unit": 2, "epochs": 3},
    "AIM": {**_VIT, "head": (192, 2), "epochs": 3},
    "Data2Vec": {
        **_VIT,
        "hidden": 0.6,
        "smallest": 4,
        "target_blocks": 2,
        "momentum": 0.996,
        "epochs": 3,
    },
    "IJEPA": {**_VIT, "predictor": (48, 2, 4), "momentum": 0.996, "epochs": 6},
    "CAPI": {
        **_VIT,
        "hidden": 0.65,
        "predictor": (2, 4),
        "prototypes": 512,
        "momentum": 0.996,
        "epochs": 6,
    },
    "VQKD": {**_VIT, "codes": 512, "code_width": 16, "teacher_epochs": 3, "epochs": 1},
    "BEiT": {**_TOKENS, "teacher_epochs": 3, "tokenizer_epochs": 1, "epochs": 3},
    "BEiTv2": {**_TOKENS, "teacher_epochs": 3, "tokenizer_epochs": 1, "epochs": 3},
    "iBOT": {**_VIT, **_HEAD, "hidden": 0.3, "smallest": 4, "epochs": 2},
    "DINOv2": {**_VIT, **_HEAD, "hidden": 0.3, "smallest": 4, "epochs": 2},
    "DINO, ViT": {**_VIT, **_HEAD, "epochs": 2},
    "MSN, ViT": {**_VIT, **_MSN, "epochs": 2},
}

# whose features are a by-product; no aim is set for them
GENERATIVE = ("Autoencoder", "VAE", "Diffusion")


def is_vit(method: str) -> bool:
    """Whether a method trains the vision transformer."""
    return RECIPES[method].get("width") == _VIT["width"]
