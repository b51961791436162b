"""Layers on graphs. Each takes `[x, a]`: node features and an adjacency of any form."""

from keras_ssl.layers.graph.attention_pool import AttentionPool
from keras_ssl.layers.graph.gat_conv import GATConv
from keras_ssl.layers.graph.gat_v2_conv import GATv2Conv
from keras_ssl.layers.graph.gcn_conv import GCNConv
from keras_ssl.layers.graph.graph_sequential import GraphSequential
from keras_ssl.layers.graph.max_pool import MaxPool
from keras_ssl.layers.graph.mean_pool import MeanPool
from keras_ssl.layers.graph.message_passing import MessagePassing
from keras_ssl.layers.graph.node_mask import NodeMask
from keras_ssl.layers.graph.set2set import Set2Set
from keras_ssl.layers.graph.sparse_dropout import SparseDropout
from keras_ssl.layers.graph.sum_pool import SumPool

__all__ = [
    "AttentionPool",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GraphSequential",
    "MaxPool",
    "MeanPool",
    "MessagePassing",
    "NodeMask",
    "Set2Set",
    "SparseDropout",
    "SumPool",
]
