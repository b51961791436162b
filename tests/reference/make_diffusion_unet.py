"""Make diffusion_unet.json: what diffusers' UNet2DModel returns with weights from a fixed formula.

The weights are drawn by `numpy.random.RandomState(0)`, whose stream never changes, in the order in
which diffusion_unet.json lists them: the test draws the same and nothing large is stored.
Run in an environment with torch and diffusers: `python tests/reference/make_diffusion_unet.py`.
"""

import json
from pathlib import Path

import numpy as np

CHANNELS, CLASSES, SIZE = 2, 3, 8
TIMES, LABELS = [3.0, 801.5], [1, 3]


def draw_weights(names_and_shapes):
    """Yields name and value; convolutions have PyTorch's axes (out, in, height, width)."""
    random = np.random.RandomState(0)
    for name, shape in names_and_shapes:
        noise = random.standard_normal(shape).astype("float32")
        if len(shape) > 1:
            value = noise / np.sqrt(np.prod(shape[1:]))
        else:
            value = 0.2 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
        yield name, value.astype("float32")


def draw_images():
    return np.random.RandomState(1).normal(size=(2, SIZE, SIZE, CHANNELS)).astype("float32")


def main():
    import diffusers
    import torch

    cases = []
    for time, classes in (("add", CLASSES), ("scale_shift", None)):
        network = diffusers.UNet2DModel(
            sample_size=SIZE,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=8,
            norm_num_groups=4,
            attn_norm_num_groups=4,
            downsample_padding=0,
            resnet_time_scale_shift="default" if time == "add" else time,
            num_class_embeds=None if classes is None else classes + 1,
        )
        state = network.state_dict()
        shapes = [(key, list(value.shape)) for key, value in state.items()]
        for key, value in draw_weights(shapes):
            state[key].copy_(torch.from_numpy(value))
        # float64, so that what the test measures is our error and not PyTorch's
        network = network.double().eval()
        images = torch.from_numpy(draw_images()).double().permute(0, 3, 1, 2)
        labels = None if classes is None else torch.tensor(LABELS)
        with torch.no_grad():
            outputs = network(images, torch.tensor(TIMES).double(), labels).sample
        cases.append(
            {
                "time": time,
                "classes": classes,
                "shapes": shapes,
                "outputs": outputs.permute(0, 2, 3, 1).numpy().round(7).tolist(),
            }
        )
    numbers = {"torch": torch.__version__, "diffusers": diffusers.__version__, "cases": cases}
    Path(__file__).with_name("diffusion_unet.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
