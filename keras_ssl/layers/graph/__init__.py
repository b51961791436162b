"""Layers on graphs, called on `[x, a]`: node features and an adjacency in any form."""

from keras_ssl.layers.graph.conv import (
    ChebConv,
    ContinuousFilterConv,
    EdgeConditionedConv,
    FixedPointGNN,
    GATConv,
    GatedGraphConv,
    GATv2Conv,
    GCNConv,
    GINConv,
    GraphSAGEConv,
    LSTMNeighbors,
    MessagePassing,
    RadialBasis,
    SpectralConv,
    shifted_softplus,
)
from keras_ssl.layers.graph.graph_sequential import GraphSequential
from keras_ssl.layers.graph.jumping_knowledge import JumpingKnowledge
from keras_ssl.layers.graph.node_mask import NodeMask
from keras_ssl.layers.graph.nodes_and_edges import EdgesToNodes, NodesToEdges
from keras_ssl.layers.graph.pool import AttentionPool, MaxPool, MeanPool, Set2Set, SumPool, TopKPool
from keras_ssl.layers.graph.sparse_dropout import SparseDropout
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
