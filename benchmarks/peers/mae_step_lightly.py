"""One MAE training step of Lightly's parts, put together as its example does."""

import time

import torch
from lightly.models import utils
from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
from serve import serve
from timm.models.vision_transformer import VisionTransformer

_step = None


class MAE(torch.nn.Module):
    """Encoder on visible patches, decoder on all, squared error of normalised pixels."""

    def __init__(self, width: int, depth: int, heads: int, size: int, patch: int):
        super().__init__()
        vit = VisionTransformer(
            size, patch, num_classes=0, embed_dim=width, depth=depth, num_heads=heads
        )
        self.patch = patch
        self.backbone = MaskedVisionTransformerTIMM(vit=vit)
        self.decoder = MAEDecoderTIMM(
            num_patches=vit.patch_embed.num_patches,
            patch_size=patch,
            embed_dim=width,
            decoder_embed_dim=width // 2,
            decoder_depth=2,
            decoder_num_heads=heads,
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        batch = images.shape[0]
        size = (batch, self.backbone.sequence_length)
        keep, mask = utils.random_token_mask(size=size, mask_ratio=0.75)
        encoded = self.decoder.embed(self.backbone.encode(images=images, idx_keep=keep))
        tokens = utils.repeat_token(self.decoder.mask_token, size)
        tokens = utils.set_at_index(tokens, keep, encoded.type_as(tokens))
        predicted = self.decoder.predict(utils.get_at_index(self.decoder.decode(tokens), mask))
        patches = utils.patchify(images, self.patch)
        target = utils.normalize_mean_var(utils.get_at_index(patches, mask - 1), dim=-1)
        return torch.nn.functional.mse_loss(predicted, target)


def set_up(width: int, depth: int, heads: int, size: int, patch: int, batch_size: int) -> int:
    """Makes network, optimizer and images; returns the number of parameters that learn."""
    global _step
    torch.manual_seed(0)
    network = MAE(width, depth, heads, size, patch).train()
    images = torch.randn(batch_size, 3, size, size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.004)

    def step() -> None:
        loss = network(images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    _step = step
    step()
    return sum(p.numel() for p in network.parameters() if p.grad is not None)


def seconds() -> float:
    """Seconds of one step."""
    start = time.perf_counter()
    _step()
    return time.perf_counter() - start


serve({"set_up": set_up, "seconds": seconds})
