"""Make margin_losses.json: PyTorch's margin losses and their gradients, in float64.

For each loss: the values with `reduction="none"`, and value and gradient of `"mean"` and `"sum"`.
The contrastive loss of Hadsell et al. is written out, as PyTorch has none.
Run in an environment with torch: `python tests/reference/make_margin_losses.py`.
"""

import json
from pathlib import Path


def main():
    import torch
    from torch import nn

    torch.manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64).round(decimals=3)

    scores, log_p = normal(5, 4), nn.functional.log_softmax(normal(5, 4), -1).round(decimals=4)
    ids, signs = torch.tensor([2, 0, 3, 1, 2]), torch.tensor([1, -1, -1, 1, -1])
    ignored = torch.tensor([2, -1, 3, -1, 0])
    weight = torch.tensor([0.5, 2.0, 1.0, 0.25], dtype=torch.float64)
    many = torch.tensor([[2, 0, -1, -1], [1, -1, -1, -1], [3, 1, 0, -1], [-1] * 4, [0, 2, -1, -1]])
    targets, table_signs = normal(5, 4), torch.where(normal(5, 4) > 0, 1, -1)
    probabilities = torch.softmax(normal(5, 4), -1).round(decimals=4)
    probabilities[0] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    pairs, triplets, distances = normal(5, 2, 3), normal(5, 3, 3), normal(5, 2).abs()

    def on_pairs(loss):
        return lambda x, y: loss(x[:, 0], x[:, 1], y)

    def on_triplets(loss):
        return lambda x, y: loss(x[:, 0], x[:, 1], x[:, 2])

    class ContrastiveMargin(nn.Module):
        def __init__(self, margin, reduction):
            super().__init__()
            self.margin, self.reduction = margin, reduction

        def forward(self, one, other, y):
            d = torch.linalg.norm(one - other, dim=1)
            values = torch.where(y > 0, d**2, torch.relu(self.margin - d) ** 2) / 2
            return {"none": values, "mean": values.mean(), "sum": values.sum()}[self.reduction]

    # our class, our arguments, PyTorch's loss for a reduction, inputs and labels of both
    def case(name, arguments, make, x, y, ours=None):
        results = {}
        for reduction in ("none", "mean", "sum"):
            inputs = x.clone().requires_grad_()
            value = make(reduction)(inputs, y)
            if reduction == "none":
                results["none"] = value.tolist()
                continue
            value.backward()
            results[reduction] = {"value": value.item(), "gradient": inputs.grad.tolist()}
        labels = y if ours is None else ours
        return {
            "name": name,
            "arguments": arguments,
            "y_true": None if labels is None else labels.tolist(),
            "y_pred": x.tolist(),
            **results,
        }

    hots = torch.zeros(5, 4, dtype=torch.int64)
    for row, entries in enumerate(many.tolist()):
        for one in entries:
            if one >= 0:
                hots[row, one] = 1
    cases = [
        *(
            case(
                "MultiClassHinge",
                {"margin": margin, "power": p, "class_weight": w and weight.tolist()},
                lambda r, p=p, margin=margin, w=w: nn.MultiMarginLoss(
                    p, margin, weight=weight if w else None, reduction=r
                ),
                scores,
                ids,
            )
            for margin, p, w in ((1.0, 1, None), (0.5, 2, True))
        ),
        *(
            case(
                "NegativeLogLikelihood",
                {"class_weight": w and weight.tolist(), "ignore_class": -1},
                lambda r, w=w: nn.NLLLoss(weight if w else None, ignore_index=-1, reduction=r),
                log_p,
                y,
            )
            for w, y in ((None, ids), (None, ignored), (True, ignored))
        ),
        case(
            "LogSpaceKLDivergence",
            {"log_targets": False},
            lambda r: nn.KLDivLoss(reduction=r),
            log_p,
            probabilities,
        ),
        case(
            "LogSpaceKLDivergence",
            {"log_targets": True},
            lambda r: nn.KLDivLoss(reduction=r, log_target=True),
            log_p[1:],
            probabilities[1:].log().round(decimals=4),
        ),
        *(
            case(
                "SmoothL1",
                {"beta": beta},
                lambda r, beta=beta: nn.SmoothL1Loss(reduction=r, beta=beta),
                scores,
                targets,
            )
            for beta in (1.0, 0.3, 0.0)
        ),
        case("SoftMargin", {}, lambda r: nn.SoftMarginLoss(reduction=r), scores, table_signs),
        case(
            "HingeEmbedding",
            {"margin": 0.7},
            lambda r: nn.HingeEmbeddingLoss(0.7, reduction=r),
            distances,
            table_signs[:, :2],
        ),
        case(
            "MarginRanking",
            {"margin": 0.3},
            lambda r: on_pairs(nn.MarginRankingLoss(0.3, reduction=r)),
            scores[:, :2],
            signs,
        ),
        case(
            "CosineEmbedding",
            {"margin": 0.2},
            lambda r: on_pairs(nn.CosineEmbeddingLoss(0.2, reduction=r)),
            pairs,
            signs,
        ),
        case(
            "ContrastiveMargin",
            {"margin": 2.5},
            lambda r: on_pairs(ContrastiveMargin(2.5, r)),
            pairs,
            signs,
        ),
        *(
            case(
                "TripletMargin",
                {"margin": 0.8, "p": p, "swap": swap},
                lambda r, p=p, swap=swap: on_triplets(
                    nn.TripletMarginLoss(0.8, p=p, eps=0.0, swap=swap, reduction=r)
                ),
                triplets,
                None,
            )
            for p, swap in ((2, False), (2, True), (1, False))
        ),
        case(
            "MultiLabelMargin",
            {},
            lambda r: nn.MultiLabelMarginLoss(reduction=r),
            scores,
            many,
            hots,
        ),
    ]
    numbers = {"torch": torch.__version__, "cases": cases}
    path = Path(__file__).with_name("margin_losses.json")
    path.write_text(json.dumps(_rounded(numbers)) + "\n")


def _rounded(numbers):
    """Eight digits are enough to compare float32 with."""
    if isinstance(numbers, dict):
        return {name: _rounded(value) for name, value in numbers.items()}
    if isinstance(numbers, list):
        return [_rounded(value) for value in numbers]
    return float(f"{numbers:.8g}") if isinstance(numbers, float) else numbers


if __name__ == "__main__":
    main()
