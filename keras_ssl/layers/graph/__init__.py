"""Layers on graphs. Each takes `[x, a]`: node features and an adjacency of any form."""

from keras_ssl.layers.graph.gcn_conv import GCNConv
from keras_ssl.layers.graph.graph_sequential import GraphSequential
from keras_ssl.layers.graph.message_passing import MessagePassing
from keras_ssl.layers.graph.node_mask import NodeMask
from keras_ssl.layers.graph.sparse_dropout import SparseDropout

__all__ = ["GCNConv", "GraphSequential", "MessagePassing", "NodeMask", "SparseDropout"]
