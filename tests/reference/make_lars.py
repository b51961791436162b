"""Make lars.json: weights after each step of Lightly's LARS on random gradients.

Lightly neither adapts nor decays a parameter whose weight decay is 0: so the bias is given.
Run in an environment with torch, torchvision and lightly: `python tests/reference/make_lars.py`.
"""

import json
from pathlib import Path


def main():
    import torch

    # CPU builds of torchvision may not register these operators, and importing it needs them
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import lightly
    from lightly.utils.lars import LARS

    torch.manual_seed(0)
    kernel = torch.randn(3, 4, dtype=torch.float64)
    bias = torch.randn(4, dtype=torch.float64)
    steps = 6
    gradients = [
        [torch.randn(3, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)]
        for _ in range(steps)
    ]
    results = []
    for settings in (
        {"lr": 4.8, "momentum": 0.9, "weight_decay": 1e-6, "trust_coefficient": 0.001},
        {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1, "trust_coefficient": 0.02},
        {"lr": 0.5, "momentum": 0.0, "weight_decay": 0.1, "trust_coefficient": 0.02},
        {
            "lr": 0.5,
            "momentum": 0.9,
            "weight_decay": 0.1,
            "trust_coefficient": 0.02,
            "nesterov": True,
        },
    ):
        weights = [kernel.clone().requires_grad_(), bias.clone().requires_grad_()]
        groups = [{"params": weights[:1]}, {"params": weights[1:], "weight_decay": 0.0}]
        optimizer = LARS(groups, **settings)
        states = []
        for step in gradients:
            for weight, gradient in zip(weights, step, strict=True):
                weight.grad = gradient.clone()
            optimizer.step()
            states.append([weight.tolist() for weight in weights])
        results.append({"settings": settings, "states": states})
    numbers = {
        "lightly": lightly.__version__,
        "torch": torch.__version__,
        "kernel": kernel.tolist(),
        "bias": bias.tolist(),
        "gradients": [[gradient.tolist() for gradient in step] for step in gradients],
        "results": results,
    }
    Path(__file__).with_name("lars.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
