"""Pooling of nodes."""

from keras_ssl.layers.graph.pool.attention_pool import AttentionPool, Set2Set
from keras_ssl.layers.graph.pool.min_cut_pool import MinCutPool
from keras_ssl.layers.graph.pool.node_pool import MaxPool, MeanPool, SumPool
from keras_ssl.layers.graph.pool.top_k_pool import TopKPool

__all__ = [
    "AttentionPool",
    "MaxPool",
    "MeanPool",
    "MinCutPool",
    "Set2Set",
    "SumPool",
    "TopKPool",
]
