"""One training step of a small GPT in PyTorch, with scaled_dot_product_attention."""

import math
import time

import torch
import torch.nn.functional as F  # noqa: N812
from serve import serve
from torch import nn

_steps = []


class Block(nn.Module):
    """A block of GPT-2, without biases in its linear maps."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens after attention to those before, and the feed-forward network."""
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """Embeddings, blocks, norm; logits are products with the embeddings."""

    def __init__(self, vocabulary: int, context: int, width: int, heads: int, depth: int):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
        for block in self.blocks:
            for last in (block.out, block.mlp[2]):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * depth))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of the token behind each."""
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        return self.norm(self.blocks(x)) @ self.tokens.weight.T


def set_up(vocabulary: int, context: int, batch: int) -> int:
    """Makes network, optimizer and batch; returns the number of parameters."""
    torch.manual_seed(0)
    network = GPT(vocabulary, context, 128, 4, 4)
    matrices = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))
    ids = torch.randint(vocabulary, (batch, context + 1))

    def step() -> None:
        logits = network(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        loss.item()

    _steps[:] = [step]
    return sum(p.numel() for p in network.parameters())


def seconds(steps: int) -> float:
    """Seconds a step, the mean over `steps` steps."""
    start = time.perf_counter()
    for _ in range(steps):
        _steps[0]()
    return (time.perf_counter() - start) / steps


serve({"set_up": set_up, "seconds": seconds})
