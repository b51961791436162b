"""Make info_nce.json: InfoNCE and CLIP's loss on random embeddings, by Lightly and by PyTorch.

- with a queue of negatives: Lightly's NTXentLoss with a memory bank, as its MoCo has it
- negatives in the batch: `torch.nn.functional.cross_entropy`, the target on the diagonal
- CLIP: the mean of the cross entropies over rows and over columns, with a scale of
  exp(logit_scale), the way the CLIP paper's figure 3 and open_clip have it

Run in an environment with torch, torchvision and lightly:
`python tests/reference/make_info_nce.py`.
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
    from lightly.loss import NTXentLoss

    torch.manual_seed(0)
    query = torch.randn(6, 5, dtype=torch.float64)
    key = 0.5 * query + torch.randn(6, 5, dtype=torch.float64)
    negatives = torch.randn(9, 5, dtype=torch.float64)
    target = torch.arange(6)

    def measured(function, *inputs):
        inputs = [x.clone().requires_grad_() for x in inputs]
        loss = function(*inputs)
        loss.backward()
        return {"loss": loss.item(), "gradients": [x.grad.tolist() for x in inputs]}

    results = []
    for temperature in (0.05, 0.2, 1.0):

        def queue(q, k, temperature=temperature):
            loss = NTXentLoss(temperature=temperature, memory_bank_size=tuple(negatives.shape))
            loss.memory_bank.bank = F.normalize(negatives, dim=1)
            return loss(q, k)

        def similarities(q, k):
            return F.normalize(q, dim=1) @ F.normalize(k, dim=1).T

        def in_batch(q, k, temperature=temperature):
            return F.cross_entropy(similarities(q, k) / temperature, target)

        def clip(q, k, logit_scale):
            logits = logit_scale.exp() * similarities(q, k)
            return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

        logit_scale = -torch.log(torch.tensor(temperature, dtype=torch.float64))
        results.append(
            {
                "temperature": temperature,
                "queue": measured(queue, query, key),
                "in_batch": measured(in_batch, query, key),
                "clip": measured(clip, query, key, logit_scale),
            }
        )
    numbers = {
        "lightly": lightly.__version__,
        "torch": torch.__version__,
        "query": query.tolist(),
        "key": key.tolist(),
        "negatives": negatives.tolist(),
        "results": results,
    }
    Path(__file__).with_name("info_nce.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
