"""Layers on graphs. Each takes `[x, a]`: node features and an adjacency of any form."""

from keras_ssl.layers.graph.attention_pool import AttentionPool
from keras_ssl.layers.graph.cheb_conv import ChebConv
from keras_ssl.layers.graph.edges_to_nodes import EdgesToNodes
from keras_ssl.layers.graph.gat_conv import GATConv
from keras_ssl.layers.graph.gat_v2_conv import GATv2Conv
from keras_ssl.layers.graph.gcn_conv import GCNConv
from keras_ssl.layers.graph.gin_conv import GINConv
from keras_ssl.layers.graph.graph_sequential import GraphSequential
from keras_ssl.layers.graph.max_pool import MaxPool
from keras_ssl.layers.graph.mean_pool import MeanPool
from keras_ssl.layers.graph.message_passing import MessagePassing
from keras_ssl.layers.graph.node_mask import NodeMask
from keras_ssl.layers.graph.nodes_to_edges import NodesToEdges
from keras_ssl.layers.graph.set2set import Set2Set
from keras_ssl.layers.graph.sparse_dropout import SparseDropout
from keras_ssl.layers.graph.sum_pool import SumPool
from keras_ssl.layers.graph.top_k_pool import TopKPool

__all__ = [
    "AttentionPool",
    "ChebConv",
    "EdgesToNodes",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GINConv",
    "GraphSequential",
    "MaxPool",
    "MeanPool",
    "MessagePassing",
    "NodeMask",
    "NodesToEdges",
    "Set2Set",
    "SparseDropout",
    "SumPool",
    "TopKPool",
]
