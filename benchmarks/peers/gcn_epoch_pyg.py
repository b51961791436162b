"""GCN's training epoch by PyTorch Geometric, as its own example (examples/gcn.py) has it.

Sparse features go beyond the example: dropout is on the stored values, and `GCNConv` multiplies the
sparse tensor with its kernel.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from serve import serve
from torch_geometric.nn import GCNConv

_epochs = {}


class GCN(torch.nn.Module):
    """Two layers; `cached` keeps the normalised adjacency of the first step."""

    def __init__(self, features: int, hidden: int, classes: int):
        super().__init__()
        self.conv1 = GCNConv(features, hidden, cached=True)
        self.conv2 = GCNConv(hidden, classes, cached=True)

    def forward(self, x, edge_index):
        x = self.conv1(dropout(x, self.training), edge_index).relu()
        return self.conv2(dropout(x, self.training), edge_index)


def dropout(x: torch.Tensor, training: bool) -> torch.Tensor:
    """Dropout at 0.5, of the stored values where `x` is sparse."""
    if x.layout == torch.sparse_coo:
        values = F.dropout(x.values(), 0.5, training)
        return torch.sparse_coo_tensor(x.indices(), values, x.shape, is_coalesced=True)
    if x.layout == torch.sparse_csr:
        values = F.dropout(x.values(), 0.5, training)
        return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape)
    return F.dropout(x, 0.5, training)


def set_up(path: str, hidden: int) -> None:
    """Reads the graph and makes an epoch for each form of the features."""
    with np.load(path) as arrays:
        graph = {name: torch.from_numpy(array) for name, array in arrays.items()}
    classes = int(graph["y"].max()) + 1
    coo = torch.sparse_coo_tensor(
        graph["x_indices"].T, graph["x_values"], tuple(graph["x_shape"].tolist())
    ).coalesce()
    forms = {"dense": coo.to_dense(), "sparse coo": coo, "sparse csr": coo.to_sparse_csr()}
    for name, x in forms.items():
        _epochs[name] = _epoch(x, graph, hidden, classes)


def _epoch(x, graph, hidden, classes):
    torch.manual_seed(0)
    model = GCN(x.shape[1], hidden, classes)
    optimizer = torch.optim.Adam(
        [
            {"params": model.conv1.parameters(), "weight_decay": 5e-4},
            {"params": model.conv2.parameters(), "weight_decay": 0.0},
        ],
        lr=0.01,
    )
    y, train = graph["y"].long(), graph["train"]

    def epoch() -> float:
        model.train()
        optimizer.zero_grad()
        out = model(x, graph["edge_index"])
        loss = F.cross_entropy(out[train], y[train])
        loss.backward()
        optimizer.step()
        return loss.item()

    return epoch


def seconds(form: str, epochs: int) -> dict[str, float]:
    """Seconds an epoch, and the last one's loss."""
    start = time.perf_counter()
    for _ in range(epochs):
        loss = _epochs[form]()
    return {"seconds": (time.perf_counter() - start) / epochs, "loss": loss}


serve({"set_up": set_up, "seconds": seconds})
