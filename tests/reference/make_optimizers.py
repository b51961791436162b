"""Make optimizers.json: 20 steps of PyTorch's optimizers, and values of its schedules.

The numbers of the settings are exact in float32, in which Keras holds learning rates.
Run in an environment with torch: `python tests/reference/make_optimizers.py`.
"""

import json
from pathlib import Path

STEPS = 20


def main():
    import torch

    torch.manual_seed(0)
    start = torch.randn(3, dtype=torch.float64)
    # signs change now and then, and one gradient is zero for a while
    gradients = torch.randn(STEPS, 3, dtype=torch.float64) + 0.5
    gradients[4:7, 2] = 0.0
    results = []
    for name, settings in (
        ("Rprop", {"lr": 0.0625}),
        ("Rprop", {"lr": 0.25, "etas": (0.25, 1.5), "step_sizes": (0.03125, 0.5)}),
        ("SGD", {"lr": 0.125, "momentum": 0.875}),
        ("SGD", {"lr": 0.125, "momentum": 0.875, "dampening": 0.25}),
        ("SGD", {"lr": 0.125, "momentum": 0.875, "nesterov": True}),
    ):
        weight = start.clone().requires_grad_()
        optimizer = getattr(torch.optim, name)([weight], **settings)
        states = []
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
            states.append(weight.tolist())
        results.append({"optimizer": name, "settings": settings, "states": states})
    schedules = []
    for name, settings in (
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4}),
        (
            "CyclicLR",
            {
                "base_lr": 0.1,
                "max_lr": 0.5,
                "step_size_up": 4,
                "step_size_down": 7,
                "mode": "triangular2",
            },
        ),
        (
            "CyclicLR",
            {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3, "mode": "exp_range", "gamma": 0.97},
        ),
        ("OneCycleLR", {"max_lr": 2.0, "total_steps": 50}),
        (
            "OneCycleLR",
            {
                "max_lr": 2.0,
                "total_steps": 50,
                "pct_start": 0.37,
                "anneal_strategy": "linear",
                "div_factor": 4.0,
                "final_div_factor": 10.0,
                "three_phase": True,
            },
        ),
    ):
        optimizer = torch.optim.SGD([start.clone().requires_grad_()], lr=0.1)
        extra = {"cycle_momentum": False}
        schedule = getattr(torch.optim.lr_scheduler, name)(optimizer, **settings, **extra)
        values = []
        for _ in range(50):
            values.append(schedule.get_last_lr()[0])
            optimizer.step()
            if len(values) < 50:
                schedule.step()
        schedules.append({"schedule": name, "settings": settings, "values": values})
    numbers = {
        "torch": torch.__version__,
        "start": start.tolist(),
        "gradients": gradients.tolist(),
        "results": results,
        "schedules": schedules,
    }
    Path(__file__).with_name("optimizers.json").write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main()
