"""Make resnet.json: features that torchvision's ResNets give on weights from a fixed formula.

The weights are drawn by `numpy.random.RandomState(0)`, whose stream never changes, in the order in
which resnet.json lists them: the test draws the same and nothing large is stored.
Run in an environment with torch and torchvision: `python tests/reference/make_resnet.py`.
"""

import json
from pathlib import Path

import numpy as np


def draw_weights(names_and_shapes):
    """Yields name and value; convolutions have PyTorch's axes (out, in, height, width)."""
    random = np.random.RandomState(0)
    for name, shape in names_and_shapes:
        noise = random.standard_normal(shape).astype("float32")
        if len(shape) == 4:
            value = noise * np.sqrt(2.0 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = np.exp(0.2 * noise)
        else:
            # scales and offsets such that features of random networks differ by image
            value = 0.2 * noise + (1.0 if name.endswith("weight") else 0.0)
        yield name, value.astype("float32")


def draw_images(size):
    return np.random.RandomState(1).uniform(-1, 1, (2, size, size, 3)).astype("float32")


def main():
    import torch

    # CPU builds of torchvision may not register these operators, and importing it needs them
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

    cases = []
    for name, stem, size in (
        ("resnet18", "imagenet_stem", 64),
        ("resnet18", "cifar_stem", 15),
        ("resnet34", "imagenet_stem", 65),
        ("resnet50", "imagenet_stem", 64),
    ):
        network = getattr(torchvision.models, name)()
        classifier_size = sum(p.numel() for p in network.fc.parameters())
        parameters = sum(p.numel() for p in network.parameters()) - classifier_size
        network.fc = torch.nn.Identity()
        if stem == "cifar_stem":
            network.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
            network.maxpool = torch.nn.Identity()
            parameters = sum(p.numel() for p in network.parameters())
        state = network.state_dict()
        shapes = [
            (key, list(value.shape))
            for key, value in state.items()
            if not key.endswith("num_batches_tracked")
        ]
        for key, value in draw_weights(shapes):
            state[key].copy_(torch.from_numpy(value))
        # float64, so that what the test measures is our error and not PyTorch's
        network = network.double()
        images = torch.from_numpy(draw_images(size)).double().permute(0, 3, 1, 2)
        with torch.no_grad():
            inference = network.eval()(images)
            training = network.train()(images)
        cases.append(
            {
                "name": name,
                "stem": stem,
                "size": size,
                "parameters": parameters,
                "shapes": shapes,
                # every 16th feature is enough to see a difference
                "inference": inference[:, ::16].tolist(),
                "training": training[:, ::16].tolist(),
            }
        )
    numbers = {"torch": torch.__version__, "torchvision": torchvision.__version__, "cases": cases}
    Path(__file__).with_name("resnet.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
