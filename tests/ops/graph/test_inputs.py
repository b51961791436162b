"""NumPy, SciPy and `graphs.Graph` as inputs of layers, networks and augmentations."""

import keras
import numpy as np
import pytest
import scipy.sparse

from keras_ssl import augment, graphs, networks
from keras_ssl.layers.graph import (
    EdgeConditionedConv,
    GATConv,
    GCNConv,
    GINConv,
    GraphSequential,
    SumPool,
    TopKPool,
)

A = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], "float32")
X = np.array([[0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 3]], "float32")


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "make",
    [
        lambda: GCNConv(2, kernel_initializer="ones"),
        lambda: GATConv(2, kernel_initializer="ones"),
        lambda: GINConv(keras.layers.Dense(2, kernel_initializer="ones")),
        lambda: GraphSequential([GCNConv(2, kernel_initializer="ones"), SumPool()]),
        lambda: networks.gcn((3,), 2, seed=0),
    ],
)
def test_graphs_and_scipy_matrices_equal_arrays(make):
    layer = make()
    expected = np.asarray(layer([X, A]))
    for a in (scipy.sparse.csr_array(A), scipy.sparse.coo_matrix(A), graphs.sparse_tensor(A)):
        np.testing.assert_allclose(layer([X, a]), expected, rtol=1e-6)
    np.testing.assert_allclose(layer(graphs.Graph(X, A)), expected, rtol=1e-6)
    if not isinstance(layer, GINConv):  # it projects after summing
        np.testing.assert_allclose(layer([scipy.sparse.csr_array(X), A]), expected, rtol=1e-6)
        sparse = graphs.Graph(scipy.sparse.csr_array(X), A)
        np.testing.assert_allclose(layer(sparse, training=False), expected, rtol=1e-6)


def test_edge_features_of_a_graph_are_used():
    e = np.arange(4, dtype="float32")[:, None]
    layer = EdgeConditionedConv(2)
    graph = graphs.Graph(X, A, e=e)
    np.testing.assert_allclose(layer(graph), layer([X, graphs.edge_list(A), e]), rtol=1e-6)


def test_pooling_and_augmentation_take_graphs():
    x, _, mask = TopKPool(0.5)(graphs.Graph(X, A))
    assert tuple(x.shape) == (3, 4) and np.asarray(mask).sum() == 2
    (one, _), (other, _) = augment.graph.GraphViews([augment.graph.RandomFeatureMask(0.0)])(
        graphs.Graph(X, A), training=True
    )
    np.testing.assert_array_equal(one, X)
    np.testing.assert_array_equal(other, X)
    out = augment.graph.RandomEdgeDrop(0.0)((X, scipy.sparse.csr_array(A)))
    np.testing.assert_array_equal(out[0], X)
    by_name = augment.graph.RandomEdgeDrop(0.0)(graph=(X, A))
    np.testing.assert_array_equal(by_name[1], A)


def test_a_graph_without_features_raises():
    with pytest.raises(ValueError, match=r"need node features.*Received: Graph"):
        GCNConv(2)(graphs.Graph(None, A))
