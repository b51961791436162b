"""Write what transformers computes with small random CLIPs to `published_clip.json`.

    python tests/reference/make_published_clip.py

Needs torch and transformers; made with transformers 5.24.0 and PyTorch 2.14.1. Weights are drawn
from their names by `draw` of `make_published_weights.py`, so that only their shapes are stored.
With the name of a folder that `keras_ssl.convert.to_hugging_face` has written, transformers reads
it instead, and the outputs are printed:

    python tests/reference/make_published_clip.py --read FOLDER CASE
"""

import argparse
import importlib.util
import json
import tempfile
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("published_clip.json")
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
VISION = {**SIZES, "hidden_size": 8, "image_size": 8, "patch_size": 4}
TEXT = {**SIZES, "hidden_size": 8, "vocab_size": 11, "max_position_embeddings": 7}
CASES = {
    # the largest id ends a text
    "largest": {
        "vision_config": VISION,
        "text_config": {**TEXT, "eos_token_id": 2},
        "projection_dim": 6,
    },
    # a number ends it, and the towers are unlike
    "named": {
        "vision_config": {
            **VISION,
            "hidden_size": 12,
            "num_attention_heads": 3,
            "num_hidden_layers": 1,
            "patch_size": 2,
            "num_channels": 1,
            "hidden_act": "gelu",
        },
        "text_config": {**TEXT, "eos_token_id": 7, "layer_norm_eps": 0.01, "hidden_act": "relu"},
        "projection_dim": 10,
        "logit_scale_init_value": 1.5,
    },
}


def script():
    """Return the module that draws weights and images."""
    path = Path(__file__).with_name("make_published_weights.py")
    spec = importlib.util.spec_from_file_location("weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw_tensor(name, shape):
    """Return the tensor of a name; the learned scale is one number."""
    return np.float32(1.5) if name == "logit_scale" else script().draw(name, shape)


def draw_tokens():
    """Return token ids `(3, 6)`, each with both ends at some place, and a mask of padding."""
    ids = np.random.default_rng(0).integers(0, 7, (3, 6))
    ends = np.array([5, 3, 2])
    ids[np.arange(3), ends - 1] = 7
    ids[np.arange(3), ends] = 10
    ids[1, 5] = ids[2, 4] = 7  # again, behind the end
    return ids, np.arange(6) <= ends[:, None]


def rounded(tensor):
    """Return a list of numbers with eight digits."""
    return [float(f"{number:.8g}") for number in tensor.numpy().ravel().tolist()]


def run_case(case, folder=None):
    """Return configuration, shapes of tensors, and outputs."""
    import torch
    import transformers
    from safetensors.torch import load_file, save_file

    cls = transformers.CLIPModel
    with tempfile.TemporaryDirectory() as work:
        cls(transformers.CLIPConfig(**CASES[case])).save_pretrained(work)
        file = Path(work) / "model.safetensors"
        shapes = {name: list(one.shape) for name, one in sorted(load_file(file).items())}
        tensors = {name: torch.tensor(draw_tensor(name, shape)) for name, shape in shapes.items()}
        save_file(tensors, file, metadata={"format": "pt"})
        config = json.loads((Path(work) / "config.json").read_text())
        model = cls.from_pretrained(folder or work).eval()
    vision = config["vision_config"]
    ids, mask = (torch.tensor(one) for one in draw_tokens())
    outputs = []
    for size in ((8, 8), (12, 8)):
        images = script().draw_images(size, vision["num_channels"])
        pixels = torch.tensor(images.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            found = model(
                pixel_values=pixels,
                input_ids=ids,
                attention_mask=mask.long(),
                interpolate_pos_encoding=size != (8, 8),
            )
            unmasked = model.get_text_features(input_ids=ids)
        unmasked = getattr(unmasked, "pooler_output", unmasked)
        outputs.append(
            {
                "size": size,
                "images": rounded(found.image_embeds),
                "texts": rounded(found.text_embeds),
                "unmasked_texts": rounded(unmasked / unmasked.norm(dim=-1, keepdim=True)),
                "logits": rounded(found.logits_per_image),
            }
        )
    keep = ("model_type", "projection_dim", "text_config", "vision_config")
    config = {name: config[name] for name in keep}
    return {"config": config, "shapes": shapes, "outputs": outputs}


def main():
    """Write the file, or read a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read", nargs=2, metavar=("FOLDER", "CASE"))
    options = parser.parse_args()
    if options.read:
        folder, case = options.read
        print(json.dumps(run_case(case, folder)["outputs"]))
        return
    FILE.write_text(json.dumps({case: run_case(case) for case in CASES}) + "\n")


if __name__ == "__main__":
    main()
