"""Layers on graphs. Each takes `[x, a]`: node features and an adjacency of any form."""

from keras_ssl.layers.graph.conv.cheb_conv import ChebConv
from keras_ssl.layers.graph.conv.continuous_filter_conv import ContinuousFilterConv
from keras_ssl.layers.graph.conv.edge_conditioned_conv import EdgeConditionedConv
from keras_ssl.layers.graph.conv.fixed_point_gnn import FixedPointGNN
from keras_ssl.layers.graph.conv.gat_conv import GATConv
from keras_ssl.layers.graph.conv.gat_v2_conv import GATv2Conv
from keras_ssl.layers.graph.conv.gated_graph_conv import GatedGraphConv
from keras_ssl.layers.graph.conv.gcn_conv import GCNConv
from keras_ssl.layers.graph.conv.gin_conv import GINConv
from keras_ssl.layers.graph.conv.graph_sage_conv import GraphSAGEConv
from keras_ssl.layers.graph.conv.lstm_neighbors import LSTMNeighbors
from keras_ssl.layers.graph.conv.message_passing import MessagePassing
from keras_ssl.layers.graph.conv.radial_basis import RadialBasis
from keras_ssl.layers.graph.conv.shifted_softplus import shifted_softplus
from keras_ssl.layers.graph.conv.sparse_dropout import SparseDropout
from keras_ssl.layers.graph.conv.spectral_conv import SpectralConv
from keras_ssl.layers.graph.edges_to_nodes import EdgesToNodes
from keras_ssl.layers.graph.graph_sequential import GraphSequential
from keras_ssl.layers.graph.jumping_knowledge import JumpingKnowledge
from keras_ssl.layers.graph.node_mask import NodeMask
from keras_ssl.layers.graph.nodes_to_edges import NodesToEdges
from keras_ssl.layers.graph.pool.attention_pool import AttentionPool
from keras_ssl.layers.graph.pool.max_pool import MaxPool
from keras_ssl.layers.graph.pool.mean_pool import MeanPool
from keras_ssl.layers.graph.pool.set2set import Set2Set
from keras_ssl.layers.graph.pool.sum_pool import SumPool
from keras_ssl.layers.graph.pool.top_k_pool import TopKPool
from keras_ssl.layers.graph.virtual_node import VirtualNode

__all__ = [
    "AttentionPool",
    "ChebConv",
    "ContinuousFilterConv",
    "EdgeConditionedConv",
    "EdgesToNodes",
    "FixedPointGNN",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GINConv",
    "GatedGraphConv",
    "GraphSAGEConv",
    "GraphSequential",
    "JumpingKnowledge",
    "LSTMNeighbors",
    "MaxPool",
    "MeanPool",
    "MessagePassing",
    "NodeMask",
    "NodesToEdges",
    "RadialBasis",
    "Set2Set",
    "SparseDropout",
    "SpectralConv",
    "SumPool",
    "TopKPool",
    "VirtualNode",
    "shifted_softplus",
]
