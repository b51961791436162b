"""Make newest_losses.json: losses and gradients of TiCo, FroSSL, W-MSE, LeJEPA, MMCR and PMSN.

By Lightly, on random embeddings, in float64. What Lightly draws at random (the partition of W-MSE,
the directions of LeJEPA) is stored with the values.

Run in an environment with torch, torchvision and lightly:
`python tests/reference/make_newest_losses.py`.
"""

import json
from pathlib import Path


def main():
    import lightly
    import torch
    import torch.nn.functional as F  # noqa: N812
    from lightly import loss
    from lightly.loss.lejepa_loss import LeJEPALoss

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)

    def measured(function, *inputs):
        inputs = [x.clone().requires_grad_() for x in inputs]
        value = function(*inputs)
        value.backward()
        gradients = [None if x.grad is None else x.grad.tolist() for x in inputs]
        return {"loss": value.item(), "gradients": gradients}

    def tico():
        """Three steps one after the other, which share the covariance."""
        criterion = loss.TiCoLoss(beta=0.8, rho=6.0)
        steps = []
        for _ in range(3):
            z1 = torch.randn(6, 4) + 0.5
            z2 = 0.5 * z1 + 0.5 * torch.randn(6, 4)
            found = measured(criterion, z1, z2)
            steps.append({"z1": z1.tolist(), "z2": z2.tolist(), **found, "c": criterion.C.tolist()})
        return steps

    def frossl():
        cases = []
        for count, dim in ((2, 4), (2, 9), (3, 4)):
            base = torch.randn(6, dim)
            views = [base + 0.5 * torch.randn(6, dim) for _ in range(count)]
            for weight in (1.0, 3.0):
                criterion = loss.FroSSLLoss(invariance_weight=weight)
                found = measured(lambda *z, criterion=criterion: criterion(list(z)), *views)
                cases.append({"weight": weight, "views": [z.tolist() for z in views], **found})
        return cases

    def wmse():
        cases = []
        for count, epsilon in ((2, 0.0), (3, 0.1)):
            base = torch.randn(16, 3)
            views = [base + 0.5 * torch.randn(16, 3) for _ in range(count)]
            orders = [torch.randperm(16) for _ in range(2)]
            given = iter(orders)
            shuffled = torch.randperm
            torch.randperm = lambda n, given=given: next(given)
            criterion = loss.WMSELoss(
                embedding_dim=3, eps=epsilon, w_iter=2, w_size=8, num_samples=count
            )
            found = measured(lambda *z, criterion=criterion: criterion(torch.cat(z)), *views)
            torch.randperm = shuffled
            cases.append(
                {
                    "epsilon": epsilon,
                    "views": [z.tolist() for z in views],
                    "order": [one.tolist() for one in orders],
                    **found,
                }
            )
        return cases

    def lejepa():
        cases = []
        for dim, weight in ((4, 0.05), (9, 0.5)):
            base = torch.randn(6, dim)
            views = [base + 0.5 * torch.randn(6, dim) for _ in range(5)]
            directions = F.normalize(torch.randn(dim, 7), dim=0)
            criterion = LeJEPALoss(lambda_param=weight, sigreg_num_vectors=7)
            # its constants are float32
            t = torch.linspace(0, 3.0, 17)
            steps = torch.full((17,), 2 * 3.0 / 16)
            steps[[0, -1]] /= 2
            criterion.sigreg.t, criterion.sigreg.phi = t, torch.exp(-t.square() / 2)
            criterion.sigreg.weights = steps * criterion.sigreg.phi
            criterion.sigreg._generate_unit_vectors = lambda *_, d=directions, **__: d
            found = measured(
                lambda *z, criterion=criterion: criterion(
                    local_proj=torch.stack(z[2:]), global_proj=torch.stack(z[:2])
                ),
                *views,
            )
            cases.append(
                {
                    "weight": weight,
                    "views": [z.tolist() for z in views],
                    "directions": directions.tolist(),
                    **found,
                }
            )
        return cases

    def mmcr():
        cases = []
        for dim, weight in ((4, 5e-3), (9, 0.5)):
            base = torch.randn(6, dim)
            views = [base + 0.5 * torch.randn(6, dim) for _ in range(4)]
            criterion = loss.MMCRLoss(lmda=weight)

            def function(*z, criterion=criterion):
                z = [F.normalize(one, dim=1) for one in z]  # of which the paper speaks
                return criterion(torch.stack(z[:2], dim=1), torch.stack(z[2:], dim=1))

            found = measured(function, *views)
            cases.append({"weight": weight, "views": [z.tolist() for z in views], **found})
        return cases

    def pmsn():
        """Of embeddings and prototypes of length 1, whose products are our scores."""
        cases = []
        for exponent, iterations in ((0.25, 0), (1.0, 3)):
            embeddings = [F.normalize(torch.randn(6, 4), dim=1) for _ in range(3)]
            prototypes = F.normalize(torch.randn(5, 4), dim=1)
            criterion = loss.PMSNLoss(power_law_exponent=exponent, sinkhorn_iterations=iterations)
            value = criterion(torch.cat(embeddings[1:]), embeddings[0], prototypes)
            scores = [(z @ prototypes.T).tolist() for z in embeddings]
            cases.append(
                {
                    "exponent": exponent,
                    "iterations": iterations,
                    "target": scores[0],
                    "anchors": scores[1:],
                    "loss": value.item(),
                }
            )
        return cases

    numbers = {
        "lightly": lightly.__version__,
        "torch": torch.__version__,
        "tico": tico(),
        "frossl": frossl(),
        "wmse": wmse(),
        "lejepa": lejepa(),
        "mmcr": mmcr(),
        "pmsn": pmsn(),
    }
    path = Path(__file__).with_name("newest_losses.json")
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
