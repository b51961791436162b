"""Make open_clip.json: losses, gradients and one training step of CLIP and SigLIP by open_clip.

- `losses`: open_clip's `ClipLoss` and `SigLipLoss` on random features: the loss, and its gradients
  with respect to the features of images and texts before they are normalized, to the logarithm of
  the scale, and to SigLIP's bias
- `steps`: one step of SGD of two linear towers, an encoder with a bias and a projection without
  one each, and of scale and bias; of CLIP with the scale clamped as open_clip's training does

Run in an environment with torch and open_clip (made with open_clip 3.3.0 and PyTorch 2.14.1):
`python tests/reference/make_open_clip.py`.
"""

import json
import math
from pathlib import Path

SCALARS = {"clip": [(0.07, None), (1.0, None)], "sig_lip": [(0.1, -10.0), (0.5, -1.0)]}


def main():
    import torch
    import torch.nn.functional as F  # noqa: N812
    from open_clip.loss import ClipLoss, SigLipLoss

    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        numbers = torch.randn(*shape, generator=generator, dtype=torch.float32)
        return numbers.double()  # which float32 holds exactly

    functions = {"clip": ClipLoss(), "sig_lip": SigLipLoss()}

    def loss_of(method, images, texts, log_scale, bias):
        vectors = (F.normalize(one, dim=-1) for one in (images, texts))
        more = () if bias is None else (bias,)
        return functions[method](*vectors, log_scale.exp(), *more)

    def scalars(temperature, bias):
        found = [-math.log(temperature)] + ([] if bias is None else [bias])
        return [torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in found]

    def as_lists(tensors):
        return [one.detach().tolist() for one in tensors]

    images = normal(6, 5)
    texts = (0.5 * images + normal(6, 5)).float().double()
    losses = []
    for method, pairs in SCALARS.items():
        for temperature, bias in pairs:
            features = [one.clone().requires_grad_() for one in (images, texts)]
            learned = scalars(temperature, bias)
            loss = loss_of(method, *features, learned[0], *(learned[1:] or [None]))
            loss.backward()
            losses.append(
                {
                    "method": method,
                    "temperature": temperature,
                    "bias": bias,
                    "loss": loss.item(),
                    "gradients": as_lists(one.grad for one in (*features, *learned)),
                }
            )

    x = {"image": normal(6, 4)}
    x["text"] = (x["image"] + 0.3 * normal(6, 4)).float().double()
    # kernels `(inputs, outputs)`: encoder, its bias, projection
    towers = {name: [normal(x[name].shape[1], 5), normal(5), normal(5, 4)] for name in x}
    steps = []
    # both towers of the last one start alike, and its scale meets the limit
    for method, temperature, bias, rate, first in (
        ("clip", 0.07, None, 0.1, "text"),
        ("sig_lip", 0.1, -10.0, 0.1, "text"),
        ("clip", 0.0101, None, 0.5, "image"),
    ):
        starts = {"image": towers["image"], "text": towers[first]}
        weights = {name: [one.clone().requires_grad_() for one in starts[name]] for name in x}
        learned = scalars(temperature, bias)

        def vectors(name, weights=weights):
            kernel, offset, projection = weights[name]
            return (x[name] @ kernel + offset) @ projection

        optimizer = torch.optim.SGD([*weights["image"], *weights["text"], *learned], lr=rate)
        loss = loss_of(
            method, vectors("image"), vectors("text"), learned[0], *(learned[1:] or [None])
        )
        loss.backward()
        optimizer.step()
        if method == "clip":
            with torch.no_grad():
                print(learned[0].item(), "before the limit of", math.log(100))
                learned[0].clamp_(0, math.log(100))
        steps.append(
            {
                "method": method,
                "temperature": temperature,
                "bias": bias,
                "rate": rate,
                "text_tower": first,
                "loss": loss.item(),
                "weights": {name: as_lists(weights[name]) for name in x},
                "scalars": as_lists(learned),
            }
        )
    stored = {
        "images": images.tolist(),
        "texts": texts.tolist(),
        "losses": losses,
        "x": {name: one.tolist() for name, one in x.items()},
        "towers": {name: as_lists(one) for name, one in towers.items()},
        "steps": steps,
    }
    rounded = json.loads(json.dumps(stored), parse_float=lambda text: float(f"{float(text):.10g}"))
    path = Path(__file__).with_name("open_clip.json")
    path.write_text(json.dumps(rounded) + "\n")


if __name__ == "__main__":
    main()
