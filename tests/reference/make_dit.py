"""Make dit.json: what diffusers' DiTTransformer2DModel returns with weights from a fixed formula.

The weights are drawn by `numpy.random.RandomState(0)`, whose stream never changes, in the order in
which dit.json lists them: the test draws the same and nothing large is stored. diffusers has one
embedding of time and class in each block, where the paper has one for all; here they are equal. Its
frequencies are those of the paper, `10000 ** (-i / 128)`.
Run in an environment with torch and diffusers: `python tests/reference/make_dit.py`.
"""

import json
from pathlib import Path

import numpy as np

CHANNELS, CLASSES, SIZE, PATCH, HEADS, DEPTH = 2, 3, 8, 2, 2, 2
TIMES, LABELS = [3, 801], [1, 3]


def draw_weights(names_and_shapes):
    """Yields name and value; matrices have PyTorch's axes (out, in)."""
    random = np.random.RandomState(0)
    for name, shape in names_and_shapes:
        noise = random.standard_normal(shape).astype("float32")
        scale = 0.1 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[1:]))
        yield name, (noise * scale).astype("float32")


def draw_images():
    return np.random.RandomState(1).normal(size=(2, SIZE, SIZE, CHANNELS)).astype("float32")


def main():
    import diffusers
    import torch

    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=HEADS,
        attention_head_dim=4,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=DEPTH,
        sample_size=SIZE,
        patch_size=PATCH,
        activation_fn="gelu",
        num_embeds_ada_norm=CLASSES,
        norm_eps=1e-6,
    )
    state = network.state_dict()
    shapes = [
        (key, list(value.shape))
        for key, value in state.items()
        if key != "pos_embed.pos_embed" and not (".norm1.emb" in key and "blocks.0" not in key)
    ]
    for key, value in draw_weights(shapes):
        state[key].copy_(torch.from_numpy(value))
    for key in state:
        if ".norm1.emb" in key:
            state[key].copy_(state["transformer_blocks.0" + key[len("transformer_blocks.0") :]])
    for block in network.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    # float64, so that what the test measures is our error and not PyTorch's
    network = network.double().eval()
    images = torch.from_numpy(draw_images()).double().permute(0, 3, 1, 2)
    with torch.no_grad():
        outputs = network(images, torch.tensor(TIMES), torch.tensor(LABELS)).sample
    numbers = {
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "shapes": shapes,
        "outputs": outputs.permute(0, 2, 3, 1).numpy().round(7).tolist(),
    }
    Path(__file__).with_name("dit.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
