"""A random graph of any size, the same on both sides of a benchmark."""

import numpy as np


def random_graph(nodes: int, edges: int, features: int, classes: int) -> dict[str, np.ndarray]:
    """Draws directed edges without self-loops, features and classes.

    Returns:
        `senders` and `receivers` (int64, by receiver and then by sender, none twice, so slightly
        fewer than `edges`), `x` (float32) and `y` (int64).
    """
    rng = np.random.default_rng(0)
    # a number for each pair: the receiver, and how many nodes the sender comes after it
    pairs = rng.integers(0, nodes, edges) * nodes + rng.integers(1, nodes, edges)
    receivers = pairs // nodes
    pairs = np.unique(receivers * nodes + (receivers + pairs % nodes) % nodes)
    return {
        "senders": pairs % nodes,
        "receivers": pairs // nodes,
        "x": rng.standard_normal((nodes, features), dtype=np.float32),
        "y": rng.integers(0, classes, nodes),
    }
