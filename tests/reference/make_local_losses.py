"""Make local_losses.json: what DenseCL, VICRegL and CAPI compute of positions, by Lightly.

On random features, in float64.

Run in an environment with torch, torchvision and lightly:
`python tests/reference/make_local_losses.py`.
"""

import json
from pathlib import Path


def main():
    import lightly
    import torch
    import torch.nn.functional as F  # noqa: N812
    from lightly import loss
    from lightly.loss.capi_loss import sinkhorn_knopp
    from lightly.models import utils

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)

    def dense_cl():
        """As Lightly's example puts it together; the queues hold what is given."""
        features = torch.randn(4, 6, 5)
        key_features = 0.5 * features.flip(1) + torch.randn(4, 6, 5)
        query, key = torch.randn(4, 3), torch.randn(4, 3)
        dense_query, dense_keys = torch.randn(4, 6, 3), torch.randn(4, 6, 3)
        queue, dense_queue = (F.normalize(torch.randn(7, 3), dim=1) for _ in range(2))
        dense_key = utils.select_most_similar(features, key_features, dense_keys)
        query.requires_grad_()
        dense_query.requires_grad_()

        def criterion(q, k, negatives):
            found = loss.NTXentLoss(temperature=0.2, memory_bank_size=tuple(negatives.shape))
            found.memory_bank.bank = negatives.clone()  # it enqueues the keys
            return found(q, k)

        of_views = criterion(query, key, queue)
        of_positions = criterion(
            dense_query.flatten(end_dim=1), dense_key.flatten(end_dim=1), dense_queue
        )
        weight = 0.3
        ((1 - weight) * of_views + weight * of_positions).backward()
        return {
            "features": features.tolist(),
            "key_features": key_features.tolist(),
            "query": query.tolist(),
            "key": key.tolist(),
            "dense_query": dense_query.tolist(),
            "dense_keys": dense_keys.tolist(),
            "dense_key": dense_key.tolist(),
            "queue": queue.tolist(),
            "dense_queue": dense_queue.tolist(),
            "dense_weight": weight,
            "contrastive": (1 - weight) * of_views.item(),
            "dense": weight * of_positions.item(),
            "gradients": [query.grad.tolist(), dense_query.grad.tolist()],
        }

    def vicregl():
        """Two global views and a local one with smaller maps."""
        base, base_map = torch.randn(6, 4), torch.randn(6, 3, 3, 5)
        views = [base + 0.5 * torch.randn(6, 4) for _ in range(3)]
        maps = [base_map.roll(k, 1) + 0.5 * torch.randn(6, 3, 3, 5) for k in range(2)]
        maps.append(base_map[:, :2, :2] + 0.5 * torch.randn(6, 2, 2, 5))
        grids = [32 * torch.rand(*one.shape[:3], 2) for one in maps]
        cases = []
        for count, weight in ((2, 0.75), (3, 0.3)):
            inputs = [x.clone().requires_grad_() for x in views[:count] + maps[:count]]
            features = list(zip(inputs[:count], inputs[count:], strict=True))
            local = {}
            if count > 2:
                local = {"local_view_features": features[2:], "local_view_grids": grids[2:]}
            criterion = loss.VICRegLLoss(alpha=weight, num_matches=(5, 2))
            value = criterion(features[:2], grids[:2], **local)
            value.sum().backward()
            cases.append(
                {
                    "count": count,
                    "weight": weight,
                    "loss": value.item(),
                    "gradients": [
                        x.grad.reshape(6, -1, x.shape[-1]).squeeze(1).tolist() for x in inputs
                    ],
                }
            )
        return {
            "matches": [5, 2],
            "views": [x.tolist() for x in views],
            "maps": [x.flatten(1, 2).tolist() for x in maps],
            "places": [x.flatten(1, 2).tolist() for x in grids],
            "cases": cases,
        }

    def capi():
        teacher, student = torch.randn(5, 4, 6), torch.randn(5, 4, 6)
        cases = []
        for settings in ({}, {"teacher_temperature": 0.5, "student_temperature": 1.0}):
            criterion = loss.CAPILoss(sinkhorn_iterations=3 + len(settings), **settings)
            x = student.clone().requires_grad_()
            value = criterion(teacher, x)
            value.backward()
            scaled = teacher / criterion.teacher_temperature
            cases.append(
                {
                    "arguments": {**settings, "iterations": criterion.sinkhorn_iterations},
                    "assignments": sinkhorn_knopp(scaled, criterion.sinkhorn_iterations).tolist(),
                    "loss": value.item(),
                    "gradient": x.grad.tolist(),
                }
            )
        return {"teacher": teacher.tolist(), "student": student.tolist(), "cases": cases}

    numbers = {
        "lightly": lightly.__version__,
        "torch": torch.__version__,
        "dense_cl": dense_cl(),
        "vicregl": vicregl(),
        "capi": capi(),
    }
    path = Path(__file__).with_name("local_losses.json")
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
