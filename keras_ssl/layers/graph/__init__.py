"""Layers on graphs, called on `[x, a]`: node features and an adjacency in any form."""

from keras_ssl.layers.graph.conv import (
    APPNPConv,
    ARMAConv,
    ChebConv,
    ContinuousFilterConv,
    DiffusionConv,
    EdgeConditionedConv,
    FixedPointGNN,
    GATConv,
    GatedGraphConv,
    GATv2Conv,
    GCNConv,
    GCSConv,
    GINConv,
    GraphSAGEConv,
    LSTMNeighbors,
    MessagePassing,
    RadialBasis,
    RGCNConv,
    SimpleGCN,
    SpectralConv,
    shifted_softplus,
)
from keras_ssl.layers.graph.graph_sequential import GraphSequential
from keras_ssl.layers.graph.jumping_knowledge import JumpingKnowledge
from keras_ssl.layers.graph.node_mask import NodeMask
from keras_ssl.layers.graph.nodes_and_edges import EdgesToNodes, NodesToEdges
from keras_ssl.layers.graph.pool import (
    AttentionPool,
    MaxPool,
    MeanPool,
    MinCutPool,
    Set2Set,
    SumPool,
    TopKPool,
)
from keras_ssl.layers.graph.sparse_dropout import SparseDropout
from keras_ssl.layers.graph.virtual_node import VirtualNode

__all__ = [
    "APPNPConv",
    "ARMAConv",
    "AttentionPool",
    "ChebConv",
    "ContinuousFilterConv",
    "DiffusionConv",
    "EdgeConditionedConv",
    "EdgesToNodes",
    "FixedPointGNN",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GCSConv",
    "GINConv",
    "GatedGraphConv",
    "GraphSAGEConv",
    "GraphSequential",
    "JumpingKnowledge",
    "LSTMNeighbors",
    "MaxPool",
    "MeanPool",
    "MessagePassing",
    "MinCutPool",
    "NodeMask",
    "NodesToEdges",
    "RGCNConv",
    "RadialBasis",
    "Set2Set",
    "SimpleGCN",
    "SparseDropout",
    "SpectralConv",
    "SumPool",
    "TopKPool",
    "VirtualNode",
    "shifted_softplus",
]
