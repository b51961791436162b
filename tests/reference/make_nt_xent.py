"""Make nt_xent.json: value and gradient of Lightly's NTXentLoss on random embeddings.

Run in an environment with torch, torchvision and lightly: `python tests/reference/make_nt_xent.py`.
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
    from lightly.loss import NTXentLoss

    torch.manual_seed(0)
    z1 = torch.randn(6, 5, dtype=torch.float64)
    z2 = 0.5 * z1 + torch.randn(6, 5, dtype=torch.float64)
    results = []
    for temperature in (0.05, 0.1, 0.5, 1.0):
        views = [z1.clone().requires_grad_(), z2.clone().requires_grad_()]
        loss = NTXentLoss(temperature=temperature)(*views)
        loss.backward()
        results.append(
            {
                "temperature": temperature,
                "loss": loss.item(),
                "gradients": [view.grad.tolist() for view in views],
            }
        )
    numbers = {
        "lightly": lightly.__version__,
        "torch": torch.__version__,
        "z1": z1.tolist(),
        "z2": z2.tolist(),
        "results": results,
    }
    Path(__file__).with_name("nt_xent.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
