"""Write the loss and the predictions of transformers' MAE to `mae_loss.json`.

    python tests/reference/make_mae_loss.py

Needs torch and transformers; made with transformers 5.24.0 and PyTorch 2.14.1. Images and weights,
the latter from their names, are drawn by the functions of `make_published_weights.py`; only the
decoder's positions, sines and cosines, are transformers' own. All images hide the same patches.
"""

import json
import tempfile
from pathlib import Path

FILE = Path(__file__).with_name("mae_loss.json")
CONFIG = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "image_size": 8,
    "patch_size": 2,
    "mask_ratio": 0.75,
    "layer_norm_eps": 1e-6,
    "decoder_hidden_size": 12,
    "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 3,
    "decoder_intermediate_size": 48,
}
HIDDEN = [0, 1, 2, 4, 5, 7, 8, 9, 11, 12, 13, 15]


def main():
    """Write the file."""
    # not at the top, where a test that imports this file would not find its neighbor
    import torch
    from make_published_weights import draw, draw_images, rounded
    from safetensors.torch import load_file, save_file
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    noise = torch.zeros(2, 16)
    noise[:, HIDDEN] = 1.0
    noise += torch.arange(16) / 100  # the lowest are visible
    pixels = torch.tensor(draw_images((8, 8), 3).transpose(0, 3, 1, 2).copy())
    results = {"config": CONFIG, "hidden": HIDDEN}
    for normalize in (True, False):
        with tempfile.TemporaryDirectory() as work:
            config = ViTMAEConfig(**CONFIG, norm_pix_loss=normalize)
            model = ViTMAEForPreTraining(config)
            model.decoder.initialize_weights(16)  # its positions, which are zeros before
            model.save_pretrained(work)
            file = Path(work) / "model.safetensors"
            tensors = load_file(file)
            for name in tensors.keys() - {"decoder.decoder_pos_embed"}:
                tensors[name] = torch.tensor(draw(name, tensors[name].shape))
            save_file(tensors, file, metadata={"format": "pt"})
            model = ViTMAEForPreTraining.from_pretrained(work).eval()
        with torch.no_grad():
            found = model(pixels, noise=noise)
        assert found.mask[0].nonzero().ravel().tolist() == HIDDEN
        results["shapes"] = {name: list(one.shape) for name, one in sorted(tensors.items())}
        results[f"loss_{int(normalize)}"] = float(found.loss)
        results["predictions"] = rounded(found.logits[:, HIDDEN])
    FILE.write_text(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
