"""Layers on graphs. Each takes `[x, a]`: node features and an adjacency of any form."""

__all__: list[str] = []
