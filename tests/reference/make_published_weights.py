"""Write what transformers computes with small random networks to `published_weights.json`.

    python tests/reference/make_published_weights.py

Needs torch and transformers; made with transformers 5.24.0 and PyTorch 2.14.1. The weights are
drawn from their names by `draw`, so that only their shapes are stored; `tests/convert` writes them
into a folder and reads it. With the name of a folder that `keras_ssl.convert.to_hugging_face` has
written, transformers reads it instead, and the outputs for the first stored images are printed:

    python tests/reference/make_published_weights.py --read FOLDER CASE
"""

import argparse
import json
import math
import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("published_weights.json")
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8}
SMALL = {**SIZES, "patch_size": 4, "intermediate_size": 12}
DINO = {**SIZES, "patch_size": 4, "mlp_ratio": 2}
OTHER = {"hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 1, "patch_size": 2}
# name: class, configuration, sizes of images
CASES = {
    "vit": ("ViTModel", SMALL, [(8, 8), (12, 20), (4, 4)]),
    "vit_no_bias": (
        "ViTForImageClassification",
        {**SMALL, **OTHER, "qkv_bias": False, "layer_norm_eps": 0.01, "num_channels": 1},
        [(8, 8)],
    ),
    "vit_masked": (
        "ViTForMaskedImageModeling",
        {**SMALL, "image_size": [8, 12], "hidden_act": "relu"},
        [(8, 12)],
    ),
    "vit_mae": ("ViTMAEModel", {**SMALL, "mask_ratio": 0.0}, [(8, 8), (12, 12)]),
    "vit_mae_hidden": ("ViTMAEModel", {**SMALL, "mask_ratio": 0.5, "patch_size": 2}, [(8, 8)]),
    "vit_mae_pretraining": (
        "ViTMAEForPreTraining",
        {
            **SMALL,
            "mask_ratio": 0.0,
            "decoder_hidden_size": 8,
            "decoder_num_hidden_layers": 1,
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 8,
        },
        [(8, 8)],
    ),
    "beit": (
        "BeitModel",
        {
            **SMALL,
            "use_mask_token": True,
            "use_absolute_position_embeddings": True,
            "use_relative_position_bias": True,
        },
        [(8, 8), (12, 12)],
    ),
    "beit_shared": (
        "BeitModel",
        {
            **SMALL,
            "patch_size": 2,
            "use_shared_relative_position_bias": True,
            "use_mean_pooling": False,
            "layer_scale_init_value": 0.0,
            "layer_norm_eps": 0.01,
        },
        [(8, 8), (6, 4)],
    ),
    "beit_positions": (
        "BeitForImageClassification",
        {**SMALL, **OTHER, "use_absolute_position_embeddings": True, "hidden_act": "silu"},
        [(8, 8), (12, 12)],
    ),
    "beit_masked": (
        "BeitForMaskedImageModeling",
        {**SMALL, "use_mask_token": True, "use_relative_position_bias": True, "vocab_size": 16},
        [(8, 8)],
    ),
    "dinov2": ("Dinov2Model", DINO, [(8, 8), (12, 20), (4, 4)]),
    "dinov2_swiglu": (
        "Dinov2ForImageClassification",
        {**DINO, **OTHER, "use_swiglu_ffn": True, "qkv_bias": False, "use_mask_token": False},
        [(8, 8)],
    ),
    "dinov2_registers": (
        "Dinov2WithRegistersModel",
        {**DINO, "num_register_tokens": 3, "use_swiglu_ffn": True, "image_size": 16},
        [(16, 16), (20, 24), (8, 12)],
    ),
}


def draw(name: str, shape: list[int]) -> np.ndarray:
    """Return the tensor of a name: norms and scales around 1, others around 0."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    is_factor = (name.endswith("weight") and len(shape) == 1) or "lambda" in name
    spread = 0.5 if "embeddings." in name else 1 / math.sqrt(max(shape[-1], 4))
    return (is_factor + spread * generator.standard_normal(shape)).astype("float32")


def draw_images(size: tuple[int, int], channels: int) -> np.ndarray:
    """Return two images `(2, height, width, channels)`."""
    generator = np.random.default_rng(size[0] * 100 + size[1])
    return generator.standard_normal((2, *size, channels)).astype("float32")


def draw_noise(patches: int) -> np.ndarray:
    """Return the numbers by which MAE chooses patches, the lowest of which are visible."""
    return np.random.default_rng(patches).random((2, patches)).astype("float32")


def outputs_of(model, images):
    """Return the last hidden state, the features, and all layers' tokens of images."""
    import torch

    name = type(model).__name__
    arguments = {}
    is_published = any(images.shape[1:3] != (side, side) for side in [model.config.image_size])
    if name.startswith("ViT") and is_published and not isinstance(model.config.image_size, list):
        arguments["interpolate_pos_encoding"] = True
    if name.startswith("ViTMAE"):
        patches = images.shape[1] * images.shape[2] // model.config.patch_size**2
        noise = np.arange(patches, dtype="float32")[None].repeat(2, axis=0)
        if model.config.mask_ratio:
            noise = draw_noise(patches)
        arguments["noise"] = torch.tensor(noise)
    base = getattr(model, model.base_model_prefix, model)
    with torch.no_grad():
        pixels = torch.tensor(images.transpose(0, 3, 1, 2).copy())
        found = base(pixels, output_hidden_states=True, **arguments)
        tokens = found.last_hidden_state
        features = tokens[:, 0]
        if name in ("BeitModel", "BeitForImageClassification"):
            features = found.pooler_output
        if name == "BeitForMaskedImageModeling":
            tokens = model.layernorm(tokens)
            features = tokens[:, 1:].mean(1)
    layers = found.hidden_states[1 : 1 + model.config.num_hidden_layers]
    return {
        "tokens": rounded(tokens),
        "features": rounded(features),
        "first_block": rounded(layers[0]),
    }


def rounded(tensor):
    """Return a list of numbers with eight digits."""
    return [float(f"{number:.8g}") for number in tensor.numpy().ravel().tolist()]


def run_case(case, folder=None):
    """Return configuration, shapes of tensors, and outputs."""
    import tempfile

    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    kind, arguments, sizes = CASES[case]
    cls = getattr(transformers, kind)
    with tempfile.TemporaryDirectory() as work:
        cls(cls.config_class(**arguments)).save_pretrained(work)
        file = Path(work) / "model.safetensors"
        shapes = {name: list(one.shape) for name, one in sorted(load_file(file).items())}
        tensors = {name: torch.tensor(draw(name, shape)) for name, shape in shapes.items()}
        save_file(tensors, file, metadata={"format": "pt"})
        config = json.loads((Path(work) / "config.json").read_text())
        model = cls.from_pretrained(folder or work).eval()
    images = [draw_images(size, model.config.num_channels) for size in sizes]
    results = [
        {"size": size, **outputs_of(model, one)} for size, one in zip(sizes, images, strict=True)
    ]
    return {"config": config, "shapes": shapes, "outputs": results}


def interpolation_matrices():
    """Return the matrices that PyTorch's bicubic interpolation of rows amounts to."""
    import torch

    found = {}
    for old, new in [(7, 11), (7, 3), (4, 4), (5, 1)]:
        for antialias in (False, True):
            # two columns, since with one PyTorch 2.14.1 repeats the first row if antialias=True
            plane = torch.eye(old)[None, :, :, None].repeat(1, 1, 1, 2)
            plane = torch.nn.functional.interpolate(
                plane, (new, 2), mode="bicubic", antialias=antialias
            )
            matrix = plane[0, :, :, 0].T.numpy().round(8).tolist()
            found[f"{old}_{new}_{int(antialias)}"] = matrix
    return found


def main():
    """Write the file, or read a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read", nargs=2, metavar=("FOLDER", "CASE"))
    options = parser.parse_args()
    if options.read:
        folder, case = options.read
        print(json.dumps(run_case(case, folder)["outputs"][0]))
        return
    stored = {
        "interpolation": interpolation_matrices(),
        "cases": {case: run_case(case) for case in CASES},
    }
    FILE.write_text(json.dumps(stored) + "\n")


if __name__ == "__main__":
    main()
