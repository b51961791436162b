"""Graph convolutions."""

from keras_ssl.layers.graph.conv.arma_conv import ARMAConv, GCSConv
from keras_ssl.layers.graph.conv.attention_conv import GATConv, GATv2Conv
from keras_ssl.layers.graph.conv.continuous_filter_conv import (
    ContinuousFilterConv,
    RadialBasis,
    shifted_softplus,
)
from keras_ssl.layers.graph.conv.edge_conditioned_conv import EdgeConditionedConv, RGCNConv
from keras_ssl.layers.graph.conv.fixed_point_gnn import FixedPointGNN
from keras_ssl.layers.graph.conv.gated_graph_conv import GatedGraphConv
from keras_ssl.layers.graph.conv.gcn_conv import GCNConv
from keras_ssl.layers.graph.conv.gin_conv import GINConv
from keras_ssl.layers.graph.conv.graph_sage_conv import GraphSAGEConv, LSTMNeighbors
from keras_ssl.layers.graph.conv.message_passing import MessagePassing
from keras_ssl.layers.graph.conv.propagation_conv import APPNPConv, DiffusionConv, SimpleGCN
from keras_ssl.layers.graph.conv.spectral_conv import ChebConv, SpectralConv

__all__ = [
    "APPNPConv",
    "ARMAConv",
    "ChebConv",
    "ContinuousFilterConv",
    "DiffusionConv",
    "EdgeConditionedConv",
    "FixedPointGNN",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GCSConv",
    "GINConv",
    "GatedGraphConv",
    "GraphSAGEConv",
    "LSTMNeighbors",
    "MessagePassing",
    "RGCNConv",
    "RadialBasis",
    "SimpleGCN",
    "SpectralConv",
    "shifted_softplus",
]
