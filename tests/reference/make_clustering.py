"""Make clustering.json: losses over prototypes on random scores, by Lightly.

- Sinkhorn-Knopp and SwAV: `lightly.loss.SwaVLoss` and its `sinkhorn`, with and without a queue
- DINO: `lightly.loss.DINOLoss` with a centre, at several teacher temperatures of its warm-up, and
  the centre after the step
- MSN: `lightly.loss.MSNLoss`, with and without Sinkhorn-Knopp and regulariser, and the gradient
  by its embeddings

Run in an environment with torch, torchvision and lightly:
`python tests/reference/make_clustering.py`.
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
    from lightly.loss import DINOLoss, MSNLoss, SwaVLoss
    from lightly.loss.swav_loss import sinkhorn

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    base = torch.randn(6, 4)
    views = [torch.tanh(base + 0.5 * torch.randn(6, 4)) for _ in range(4)]
    queues = [torch.tanh(torch.randn(5, 4)) for _ in range(2)]

    def measured(function, tensors):
        leaves = [x.clone().requires_grad_() for x in tensors]
        loss = function(leaves).sum()
        loss.backward()
        gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]
        return {"loss": loss.item(), "gradients": [g.tolist() for g in gradients]}

    codes, swav = [], []
    for epsilon, iterations in ((0.05, 3), (0.5, 1), (0.2, 50)):
        setting = {"epsilon": epsilon, "iterations": iterations}
        codes.append(
            {
                **setting,
                "codes": sinkhorn(views[0].clone(), iterations, epsilon).tolist(),
                "with_queue": sinkhorn(torch.cat([views[0], queues[0]]), iterations, epsilon)[
                    :6
                ].tolist(),
            }
        )
        for queue in (None, queues):
            loss = SwaVLoss(0.2, iterations, epsilon)
            result = measured(lambda x, f=loss, q=queue: f(x[:2], x[2:], q), views)
            swav.append({**setting, "temperature": 0.2, "queue": queue is not None, **result})

    dino = []
    for epoch in (0, 2, 9):
        loss = DINOLoss(4, 0.04, 0.07, 5, 0.2, 0.8)
        center = torch.linspace(-0.3, 0.3, 4)
        loss.center = center.clone()[None, None]
        result = measured(
            lambda x, f=loss, e=epoch: f([v.detach() for v in x[:2]], x, epoch=e), views
        )
        dino.append(
            {
                "epoch": epoch,
                "student_temperature": 0.2,
                "center": center.tolist(),
                "center_after": loss.center.flatten().tolist(),
                "momentum": 0.8,
                **result,
            }
        )

    msn = []
    embeddings = torch.randn(3, 6, 5)  # a target and two anchors
    prototypes = F.normalize(torch.randn(4, 5), dim=1)
    for temperature, iterations, weight in ((0.1, 0, 1.0), (0.5, 3, 2.0), (0.2, 0, 0.0)):
        loss = MSNLoss(temperature, iterations, weight)
        result = measured(
            lambda x, f=loss: f(torch.cat([x[1], x[2]]), x[0], prototypes, 0.4), embeddings
        )
        msn.append(
            {
                "temperature": temperature,
                "sharpening": 0.4,
                "iterations": iterations,
                "weight": weight,
                **result,
            }
        )

    numbers = {
        "lightly": lightly.__version__,
        "torch": torch.__version__,
        "views": [view.tolist() for view in views],
        "queues": [queue.tolist() for queue in queues],
        "codes": codes,
        "swav": swav,
        "dino": dino,
        "embeddings": embeddings.tolist(),
        "prototypes": prototypes.tolist(),
        "msn": msn,
    }
    Path(__file__).with_name("clustering.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
