"""Make adaptive_softmax.json: PyTorch's adaptive softmax in float64, with its gradients.

Run in an environment with torch: `python tests/reference/make_adaptive_softmax.py`.
"""

import json
from pathlib import Path


def main():
    import torch

    torch.manual_seed(0)
    cases = []
    for settings in (
        {"cutoffs": [3, 6], "div_value": 2.0, "head_bias": True},
        {"cutoffs": [2], "div_value": 4.0, "head_bias": False},
    ):
        layer = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 11, **settings, dtype=torch.float64)
        with torch.no_grad():
            for weight in layer.parameters():
                weight.copy_(torch.randn_like(weight).round(decimals=2))
        features = torch.randn(6, 8, dtype=torch.float64).round(decimals=2)
        labels = torch.tensor([0, 10, 2, 5, 3, 6])
        inputs = features.clone().requires_grad_()
        output, loss = layer(inputs, labels)
        loss.backward()
        tails = [[part.weight.T for part in tail] for tail in layer.tail]
        weights = [layer.head.weight.T, *(one for pair in tails for one in pair)]
        # gradients of the transposed weights
        gradients = [layer.head.weight.grad.T]
        gradients += [part.weight.grad.T for tail in layer.tail for part in tail]
        bias = layer.head.bias if settings["head_bias"] else None
        cases.append(
            {
                "settings": settings,
                "features": features.tolist(),
                "labels": labels.tolist(),
                "weights": [one.tolist() for one in weights],
                "bias": None if bias is None else bias.tolist(),
                "output": output.tolist(),
                "feature_gradient": inputs.grad.tolist(),
                "weight_gradients": [one.tolist() for one in gradients],
                "bias_gradient": None if bias is None else bias.grad.tolist(),
                "log_prob": layer.log_prob(features).tolist(),
                "predict": layer.predict(features).tolist(),
            }
        )
    numbers = {"torch": torch.__version__, "cases": cases}
    path = Path(__file__).with_name("adaptive_softmax.json")
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
