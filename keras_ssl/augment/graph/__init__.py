"""Random operations on graphs, on the device, with static shapes."""

from keras_ssl.augment.graph.feature_shuffle import FeatureShuffle
from keras_ssl.augment.graph.graph_augmentation import GraphAugmentation
from keras_ssl.augment.graph.graph_views import GraphViews
from keras_ssl.augment.graph.random_edge_drop import RandomEdgeDrop
from keras_ssl.augment.graph.random_feature_mask import RandomFeatureMask
from keras_ssl.augment.graph.random_node_drop import RandomNodeDrop, RandomSubgraph

__all__ = [
    "FeatureShuffle",
    "GraphAugmentation",
    "GraphViews",
    "RandomEdgeDrop",
    "RandomFeatureMask",
    "RandomNodeDrop",
    "RandomSubgraph",
]
