"""Make embedding_losses.json: losses and gradients on random embeddings, in float64.

- DCL, DCLW, negative cosine similarity, Barlow Twins and VICReg by Lightly, with more examples than
  features and with fewer
- SupCon by the paper's equation 2, written out in PyTorch, as Lightly has none: each anchor,
  each positive, one at a time

Run in an environment with torch, torchvision and lightly:
`python tests/reference/make_embedding_losses.py`.
"""

import json
from pathlib import Path


def main():
    import torch
    import torch.nn.functional as F  # noqa: N812

    # CPU builds of torchvision may not register these operators, and importing it needs them
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import lightly
    from lightly import loss

    torch.manual_seed(0)
    labels = [4, 2, 4, 4, 2, 9]  # the last has only its other view

    def sup_con(z1, z2):
        z = F.normalize(torch.cat([z1, z2]), dim=1)
        classes, values = labels * 2, []
        for i in range(len(z)):
            others = [k for k in range(len(z)) if k != i]
            total = torch.logsumexp(torch.stack([z[i] @ z[k] / 0.2 for k in others]), 0)
            positives = [z[i] @ z[p] / 0.2 for p in others if classes[p] == classes[i]]
            values.append(total - torch.stack(positives).mean())
        return torch.stack(values).mean()

    functions = {
        "dcl_0.1": loss.DCLLoss(temperature=0.1),
        "dcl_0.5": loss.DCLLoss(temperature=0.5),
        "dclw_0.1_0.5": loss.DCLWLoss(temperature=0.1, sigma=0.5),
        "dclw_0.5_0.2": loss.DCLWLoss(temperature=0.5, sigma=0.2),
        "negative_cosine_similarity": loss.NegativeCosineSimilarity(),
        "barlow_twins_0.005": loss.BarlowTwinsLoss(lambda_param=0.005),
        "barlow_twins_0.5": loss.BarlowTwinsLoss(lambda_param=0.5),
        "vicreg_25_25_1": loss.VICRegLoss(),
        "vicreg_1_0_0": loss.VICRegLoss(lambda_param=1, mu_param=0, nu_param=0),
        "vicreg_0_1_0": loss.VICRegLoss(lambda_param=0, mu_param=1, nu_param=0),
        "vicreg_0_0_1": loss.VICRegLoss(lambda_param=0, mu_param=0, nu_param=1),
        "sup_con_0.2": sup_con,
    }
    cases = []
    for dim in (4, 9):
        z1 = 0.8 * torch.randn(6, dim, dtype=torch.float64)
        z2 = 0.5 * z1 + 0.5 * torch.randn(6, dim, dtype=torch.float64)
        results = {}
        for name, function in functions.items():
            inputs = [z.clone().requires_grad_() for z in (z1, z2)]
            value = function(*inputs)
            value.backward()
            results[name] = {"loss": value.item(), "gradients": [x.grad.tolist() for x in inputs]}
        cases.append({"z1": z1.tolist(), "z2": z2.tolist(), "results": results})
    numbers = {
        "lightly": lightly.__version__,
        "torch": torch.__version__,
        "labels": labels,
        "cases": cases,
    }
    path = Path(__file__).with_name("embedding_losses.json")
    path.write_text(json.dumps(_rounded(numbers)) + "\n")


def _rounded(numbers):
    """Ten digits are enough to compare float32 with."""
    if isinstance(numbers, dict):
        return {name: _rounded(value) for name, value in numbers.items()}
    if isinstance(numbers, list):
        return [_rounded(value) for value in numbers]
    return float(f"{numbers:.10g}") if isinstance(numbers, float) else numbers


if __name__ == "__main__":
    main()
