"""The structure of graphs, without weights: conversion, normalization, isomorphism, walks."""

from keras_ssl.graphs.checks import (
    check_edge_list,
    check_finite,
    check_square,
    check_symmetric,
)
from keras_ssl.graphs.construction import (
    TypedEdges,
    from_cooccurrences,
    from_image,
    from_molecule,
    from_text,
    from_triples,
)
from keras_ssl.graphs.conversion import as_graph, from_edge_list, from_networkx
from keras_ssl.graphs.disjoint_union import disjoint_union
from keras_ssl.graphs.forms import edge_list, sparse_tensor
from keras_ssl.graphs.graph import Graph
from keras_ssl.graphs.laplacians import laplacian, laplacian_eigenbasis, rescaled_laplacian
from keras_ssl.graphs.normalization import normalized_adjacency, row_normalize
from keras_ssl.graphs.random_walks import Neighbors, is_edge, neighbors_of, random_walks
from keras_ssl.graphs.split_edges import EdgeSplit, negative_edges, split_edges, uniform_pairs
from keras_ssl.graphs.weisfeiler_lehman import (
    SubtreeFeatures,
    is_possibly_isomorphic,
    weisfeiler_lehman,
)

__all__ = [
    "EdgeSplit",
    "Graph",
    "Neighbors",
    "SubtreeFeatures",
    "TypedEdges",
    "as_graph",
    "check_edge_list",
    "check_finite",
    "check_square",
    "check_symmetric",
    "disjoint_union",
    "edge_list",
    "from_cooccurrences",
    "from_edge_list",
    "from_image",
    "from_molecule",
    "from_networkx",
    "from_text",
    "from_triples",
    "is_edge",
    "is_possibly_isomorphic",
    "laplacian",
    "laplacian_eigenbasis",
    "negative_edges",
    "neighbors_of",
    "normalized_adjacency",
    "random_walks",
    "rescaled_laplacian",
    "row_normalize",
    "sparse_tensor",
    "split_edges",
    "uniform_pairs",
    "weisfeiler_lehman",
]
