"""A training step of GCN on a large random graph, by PyTorch Geometric."""

import time

import torch
import torch.nn.functional as F  # noqa: N812
from peak_memory import (
    peak_gigabytes,
    resident_gigabytes,
    return_freed_memory,
    seconds_and_memory,
)
from random_graph import random_graph
from serve import serve
from torch_geometric.nn import GCNConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm

_step = None
_libraries = 0.0


def set_up(form: str, nodes: int, edges: int, width: int) -> None:
    """Makes graph and model; the adjacency is normalised once, before training.

    Args:
        form: "edge_index" and weights, or "CSR", a `torch.sparse_csr_tensor` of the same.
        nodes: number of nodes.
        edges: number of edges.
        width: features, channels of each of three layers, and classes.
    """
    global _step, _libraries
    torch.manual_seed(0)
    GCNConv(2, 2)(torch.ones(2, 2), torch.tensor([[0], [1]])).sum().backward()
    _libraries = resident_gigabytes()
    graph = random_graph(nodes, edges, width, width)
    graph = {name: torch.from_numpy(array) for name, array in graph.items()}
    x, y = graph["x"], graph["y"]
    edge_index = torch.stack([graph.pop("senders"), graph.pop("receivers")])
    edge_index, weights = gcn_norm(edge_index, None, nodes)
    if form == "CSR":
        a = torch.sparse_coo_tensor(edge_index.flip(0), weights, (nodes, nodes))
        adjacency = (a.to_sparse_csr(),)
        del a, edge_index, weights
    else:
        adjacency = (edge_index, weights)
    layers = torch.nn.ModuleList(GCNConv(width, width, normalize=False) for _ in range(3))
    optimizer = torch.optim.Adam(layers.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        h = x
        for number, layer in enumerate(layers):
            h = layer(h, *adjacency)
            h = h if number == 2 else h.relu()
        loss = F.cross_entropy(h, y)
        loss.backward()
        optimizer.step()

    _step = step


def first() -> dict[str, float]:
    """The peak of the process in the first steps, and without the libraries."""
    return_freed_memory()
    seconds_and_memory(lambda: [_step() for _ in range(2)])
    return {"gigabytes": peak_gigabytes() - _libraries, "peak": peak_gigabytes()}


def seconds(steps: int) -> float:
    """Seconds a step."""
    start = time.perf_counter()
    for _ in range(steps):
        _step()
    return (time.perf_counter() - start) / steps


serve({"set_up": set_up, "first": first, "seconds": seconds})
