"""The structure of graphs, without weights: conversion, normalisation, isomorphism, walks."""

from keras_ssl.graphs.checks import check_finite, check_square, check_symmetric
from keras_ssl.graphs.conversion import as_graph, check_edge_list, from_edge_list, from_networkx
from keras_ssl.graphs.disjoint_union import disjoint_union
from keras_ssl.graphs.forms import edge_list, sparse_tensor
from keras_ssl.graphs.graph import Graph
from keras_ssl.graphs.laplacians import laplacian, laplacian_eigenbasis, rescaled_laplacian
from keras_ssl.graphs.normalization import normalized_adjacency, row_normalize

__all__ = [
    "Graph",
    "as_graph",
    "check_edge_list",
    "check_finite",
    "check_square",
    "check_symmetric",
    "disjoint_union",
    "edge_list",
    "from_edge_list",
    "from_networkx",
    "laplacian",
    "laplacian_eigenbasis",
    "normalized_adjacency",
    "rescaled_laplacian",
    "row_normalize",
    "sparse_tensor",
]
