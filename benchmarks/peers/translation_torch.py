"""The peer of `benchmarks/translation.py`: the same transformer, trained and decoded in PyTorch."""

import math
import time

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from serve import serve
from torch import Tensor, nn

EPSILON, BETAS = 1e-7, (0.9, 0.98)
IGNORED = -100  # the target of positions that do not count


class Attention(nn.Module):
    """Attention of tokens to a context; one linear map holds queries, keys and values."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Tokens from a context, where the mask is true."""
        if context is x:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
        else:
            width = x.shape[-1]
            of_query, of_others = (
                one.split([width, 2 * width]) for one in (self.qkv.weight, self.qkv.bias)
            )
            q = F.linear(x, of_query[0], of_others[0])
            k, v = F.linear(context, of_query[1], of_others[1]).chunk(2, dim=-1)
        q, k, v = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A block that normalizes first; of a decoder, with attention to a context."""

    def __init__(self, width: int, heads: int, dropout: float, has_context: bool):
        super().__init__()
        # in the order of our variables, by which weights are loaded
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.feed_forward_norm = nn.LayerNorm(width, eps=1e-6)
        if has_context:
            self.cross_attention = Attention(width, heads)
            self.cross_norm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """Tokens after attention and the feed-forward network."""
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, normed, mask))
        if context is not None:
            of_context = self.cross_attention(self.cross_norm(x), context, context_mask)
            x = x + self.dropout(of_context)
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class Transformer(nn.Module):
    """Encoder and decoder with one embedding, whose products with the features are the logits."""

    def __init__(self, vocabulary_size: int, width: int, blocks: int, heads: int, dropout: float):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.encoder = nn.ModuleList(Block(width, heads, dropout, False) for _ in range(blocks))
        self.decoder = nn.ModuleList(Block(width, heads, dropout, True) for _ in range(blocks))
        self.encoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                # a map of queries, keys and values is three of the width of each
                parts = 3 if module.out_features == 3 * width else 1
                for part in module.weight.data.chunk(parts):
                    nn.init.xavier_uniform_(part)
                nn.init.zeros_(module.bias)

    def _embed(self, ids: Tensor) -> Tensor:
        width = self.embedding.embedding_dim
        rates = 10_000 ** (-torch.arange(0, width, 2) / width)
        angles = torch.arange(ids.shape[1])[:, None] * rates
        places = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        return self.dropout(self.embedding(ids) * math.sqrt(width) + places)

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The context of the decoder, of sources and where they are no padding."""
        x = self._embed(ids)
        for block in self.encoder:
            x = block(x, mask[:, None, None])
        return self.encoder_norm(x)

    def decode(self, ids: Tensor, mask: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """Features of the tokens of targets."""
        x = self._embed(ids)
        length = ids.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        for block in self.decoder:
            x = block(x, mask[:, None, None] & causal, context, context_mask[:, None, None])
        return self.decoder_norm(x)

    def logits(self, features: Tensor) -> Tensor:
        """Logits of the token behind each."""
        return features @ self.embedding.weight.T


class Run:
    """One training run on prepared batches, some steps at a time."""

    def start(
        self,
        batches: str,
        vocabulary_size: int,
        seed: int,
        steps: int,
        width: int,
        blocks: int,
        heads: int,
        dropout: float,
        label_smoothing: float,
        learning_rate: float,
        warmup: int,
    ) -> list[list[int]]:
        """Sets up a run on the batches of a `.npz` file; returns the shapes of its weights."""
        torch.manual_seed(seed)
        self.batches = {name: torch.from_numpy(one) for name, one in np.load(batches).items()}
        self.label_smoothing = label_smoothing
        self.network = Transformer(vocabulary_size, width, blocks, heads, dropout)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=learning_rate, betas=BETAS, eps=EPSILON
        )
        warmup = min(warmup, steps // 2)

        def factor(step: int) -> float:
            """Rises from 0, then falls to 0 along half a cosine."""
            if step < warmup:
                return step / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        return [list(one.shape) for one in self._as_ours()]

    def _as_ours(self) -> list[Tensor]:
        """Views of the weights in the shapes of ours, whose kernels are transposed."""
        embedding, *others = (one.data for one in self.network.parameters())
        return [embedding, *(one.T if one.dim() == 2 else one for one in others)]

    def load(self, weights: str) -> None:
        """Takes the weights of a `.npz` file."""
        for one, given in zip(self._as_ours(), np.load(weights).values(), strict=True):
            one.copy_(torch.from_numpy(given))

    def _batch(self, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Ids and mask of the sources of a batch, and those of the targets."""
        width = self.batches["widths"][number].item()
        found = []
        for side in ("source", "target"):
            found.append(self.batches[side][number, :, :width].long())
            sizes = self.batches[f"{side}_sizes"][number]
            found.append(torch.arange(width) < sizes[:, None])
        return tuple(found)

    def _logits(self, source: Tensor, mask: Tensor, seen: Tensor, seen_mask: Tensor) -> Tensor:
        context = self.network.encode(source, mask)
        return self.network.logits(self.network.decode(seen, seen_mask, context, mask))

    @torch.no_grad()
    def logits(self, number: int, path: str) -> None:
        """Writes the logits of a batch to a `.npy` file."""
        self.network.eval()
        source, source_mask, target, mask = self._batch(number)
        found = self._logits(source, source_mask, target[:, :-1], mask[:, :-1])
        np.save(path, found.numpy())

    def train(self, first: int, last: int) -> dict[str, float]:
        """Trains on the batches from `first` to before `last`; returns mean loss and seconds."""
        start = time.process_time()
        self.network.train()
        total = 0.0
        for number in range(first, last):
            source, source_mask, target, mask = self._batch(number)
            logits = self._logits(source, source_mask, target[:, :-1], mask[:, :-1])
            goals = target[:, 1:].masked_fill(~mask[:, 1:], IGNORED)
            loss = F.cross_entropy(
                logits.flatten(0, 1),
                goals.flatten(),
                ignore_index=IGNORED,
                label_smoothing=self.label_smoothing,
            )
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            # Keras adds it to the root of the second momentum before that is corrected
            correction = 1 - BETAS[1] ** (self.schedule.last_epoch + 1)
            self.optimizer.param_groups[0]["eps"] = EPSILON / math.sqrt(correction)
            self.optimizer.step()
            self.schedule.step()
            total += loss.item()
        return {"loss": total / (last - first), "seconds": time.process_time() - start}

    @torch.no_grad()
    def translate(
        self, sources: str, count: int, batch_size: int, tokens: int, start: int, end: int, pad: int
    ) -> dict[str, list[list[int]] | float]:
        """Decodes the first sources of a `.npz` file greedily; returns token ids and seconds."""
        clock = time.process_time()
        self.network.eval()
        ids, sizes = (torch.from_numpy(np.load(sources)[name][:count]) for name in ("ids", "sizes"))
        found = torch.full((len(ids), tokens), pad)
        for rows in sizes.argsort().split(batch_size):
            width = int(sizes[rows].max())
            mask = torch.arange(width) < sizes[rows][:, None]
            context = self.network.encode(ids[rows, :width].long(), mask)
            targets = torch.full((len(rows), 1), start)
            ended = torch.zeros(len(rows), dtype=torch.bool)
            while targets.shape[1] <= tokens and not ended.all():
                # what was decoded behind the end changes nothing, as the network is causal
                seen = torch.ones_like(targets, dtype=torch.bool)
                features = self.network.decode(targets, seen, context, mask)[:, -1]
                chosen = self.network.logits(features).argmax(-1).masked_fill(ended, pad)
                targets = torch.cat([targets, chosen[:, None]], dim=1)
                ended |= chosen == end
            found[rows, : targets.shape[1] - 1] = targets[:, 1:]
        return {"token_ids": found.tolist(), "seconds": time.process_time() - clock}


run = Run()
serve(
    {
        "start": run.start,
        "load": run.load,
        "logits": run.logits,
        "train": run.train,
        "translate": run.translate,
    }
)
