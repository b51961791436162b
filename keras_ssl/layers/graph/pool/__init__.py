"""Pooling of nodes to graphs."""
