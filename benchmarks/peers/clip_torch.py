"""The peer of `benchmarks/clip_emoji.py`: its towers in PyTorch, trained by open_clip's loss."""

import math
import time
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from open_clip import ClipLoss
from serve import serve
from torch import Tensor, nn

EPSILON, BETAS = 1e-7, (0.9, 0.999)
ROWS = 512  # embedded at once


class ImageTower(nn.Module):
    """Convolutions that halve, normalization of groups and SiLU; feature maps, and a linear map."""

    def __init__(self, size: int, widths: list[int], channels: int, width: int):
        super().__init__()
        levels = []
        for before, after in zip([3, *widths], widths, strict=False):
            groups = math.gcd(32, after)
            levels += [
                nn.Conv2d(before, after, 4, stride=2, padding=1),
                nn.GroupNorm(groups, after),
                nn.SiLU(),
            ]
        self.levels = nn.Sequential(*levels)
        places = (size >> len(widths)) ** 2
        self.features = nn.Conv2d(widths[-1], channels, 3, padding=1)
        self.projection = nn.Linear(places * channels, width, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Vectors of images from 0 to 255, channels last."""
        x = self.features(self.levels(images.permute(0, 3, 1, 2) / 127.5 - 1))
        return self.projection(x.permute(0, 2, 3, 1).flatten(1))


class Block(nn.Module):
    """A block that normalizes first, whose tokens see those before them."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        # in the order of our variables, by which weights are loaded
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Tokens after attention and the feed-forward network."""
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class TextTower(nn.Module):
    """CLIP's text transformer, and a linear map of the last token that is no padding."""

    def __init__(
        self, vocabulary_size: int, length: int, sizes: list[int], dropout: float, width: int
    ):
        super().__init__()
        own, blocks, heads = sizes
        self.tokens, self.positions = nn.Embedding(vocabulary_size, own), nn.Embedding(length, own)
        self.blocks = nn.ModuleList(Block(own, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(own)
        self.projection = nn.Linear(own, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, padding_mask: Tensor) -> Tensor:
        """Vectors of texts."""
        length = ids.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).tril() & padding_mask[:, None, None]
        x = self.dropout(self.tokens(ids) + self.positions(torch.arange(length)))
        for block in self.blocks:
            x = block(x, mask)
        last = padding_mask.sum(dim=1) - 1
        return self.projection(self.norm(x)[torch.arange(len(ids)), last])


class Run:
    """One training run on prepared batches."""

    def start(
        self,
        batches: str,
        weights: str,
        seed: int,
        size: int,
        widths: list[int],
        channels: int,
        vocabulary_size: int,
        length: int,
        text: list[int],
        dropout: float,
        width: int,
        weight_decay: float,
    ) -> None:
        """Sets up a run on the batches of a folder, from the weights of a `.npz` file."""
        torch.manual_seed(seed)
        names = ("image", "token_ids", "padding_mask", "rates")
        self.batches = {name: np.load(f"{batches}/{name}.npy", mmap_mode="r") for name in names}
        image = ImageTower(size, widths, channels, width)
        texts = TextTower(vocabulary_size, length, text, dropout, width)
        self.towers = nn.ModuleDict({"image": image, "text": texts})
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        parameters = [*image.parameters(), *texts.parameters(), self.log_scale]
        embeddings = [texts.tokens.weight, texts.positions.weight]
        given = [torch.from_numpy(one) for one in np.load(weights).values()]
        for one, value in zip(parameters, given, strict=True):
            if one.dim() == 4:
                value = value.permute(3, 2, 0, 1)
            elif one.dim() == 2 and all(one is not other for other in embeddings):
                value = value.T
            if one.shape != value.shape:
                raise ValueError(f"Not the same network: {one.shape} and {value.shape}")
            one.data.copy_(value)
        decayed = [one for one in parameters if one.dim() > 1 and one is not embeddings[1]]
        others = [one for one in parameters if one.dim() < 2 or one is embeddings[1]]
        groups = [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.parameters = parameters
        self.optimizer = torch.optim.AdamW(groups, betas=BETAS, eps=EPSILON)
        self.loss = ClipLoss()

    def train(self, first: int, last: int) -> dict[str, list[float] | float]:
        """Trains on the batches from `first` to before `last`; returns losses and CPU seconds."""
        start, losses = time.process_time(), []
        self.towers.train()
        for number in range(first, last):
            images, ids, mask = (
                torch.from_numpy(np.array(self.batches[name][number]))
                for name in ("image", "token_ids", "padding_mask")
            )
            u = F.normalize(self.towers["image"](images.float()), dim=-1)
            v = F.normalize(self.towers["text"](ids.long(), mask), dim=-1)
            loss = self.loss(u, v, self.log_scale.exp())
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, 1.0)
            for group in self.optimizer.param_groups:
                group["lr"] = float(self.batches["rates"][number])
                # Keras adds it to the root of the second momentum before that is corrected
                group["eps"] = EPSILON / math.sqrt(1 - BETAS[1] ** (number + 1))
            self.optimizer.step()
            with torch.no_grad():
                self.log_scale.clamp_(max=math.log(100))
            losses.append(loss.item())
        return {"losses": losses, "seconds": time.process_time() - start}

    @torch.no_grad()
    def embed(self, tower: str, inputs: str, output: str) -> None:
        """Writes vectors of length 1 of the images or texts of a `.npz` file to a `.npy` file."""
        self.towers.eval()
        given = np.load(inputs)
        if tower == "image":
            arrays = (torch.from_numpy(given["image"]),)
        else:
            arrays = (torch.from_numpy(given["token_ids"]), torch.from_numpy(given["padding_mask"]))
        found = []
        for rows in torch.arange(len(arrays[0])).split(ROWS):
            some = [one[rows] for one in arrays]
            some[0] = some[0].float() if tower == "image" else some[0].long()
            found.append(F.normalize(self.towers[tower](*some), dim=-1))
        np.save(output, torch.cat(found).numpy())


def loss_version() -> str:
    """The version of open_clip."""
    return version("open_clip_torch")


run = Run()
serve({"start": run.start, "train": run.train, "embed": run.embed, "loss_version": loss_version})
