"""Tests that sparse tensors of several graphs are refused in words."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, networks, trainers
from keras_ssl.layers import graph as layers

if keras.backend.backend() != "tensorflow":
    pytest.skip("other backends have no sparse tensors of this rank", allow_module_level=True)

MAKE = {
    **{name: lambda name=name: layers.MessagePassing(name) for name in ("mean", "max", "min")},
    "sum": lambda: layers.MessagePassing(),
    "std": lambda: layers.MessagePassing("std"),
    "GCN": lambda: layers.GCNConv(4),
    "normalized GCN": lambda: layers.GCNConv(4, normalize=True),
    "Chebyshev": lambda: layers.ChebConv(4),
    "GAT": lambda: layers.GATConv(4),
    "GATv2": lambda: layers.GATv2Conv(4),
    "GIN": lambda: layers.GINConv(keras.layers.Dense(4)),
    "GraphSAGE": lambda: layers.GraphSAGEConv(4),
    "LSTM": lambda: layers.LSTMNeighbors(4, 2),
    "gated": lambda: layers.GatedGraphConv(4),
    "fixed point": lambda: layers.FixedPointGNN(4),
    "jumping knowledge": lambda: layers.JumpingKnowledge([layers.GCNConv(4)]),
    "GCS": lambda: layers.GCSConv(4),
    "APPNP": lambda: layers.APPNPConv(4),
    "minimum cut": lambda: layers.MinCutPool(2),
    "nodes to edges": lambda: layers.NodesToEdges(),
    "top k": lambda: layers.TopKPool(),
    "in turn": lambda: layers.GraphSequential([layers.GraphSAGEConv(4)]),
    "gin": lambda: networks.gin((4,), classes=2),
    "edge drop": lambda: augment.graph.RandomEdgeDrop(0.5),
    "node drop": lambda: augment.graph.RandomNodeDrop(0.5),
    "views": lambda: augment.graph.GraphViews([augment.graph.RandomEdgeDrop(0.5)]),
}
WITH_EDGES = {
    "edge-conditioned": lambda: layers.EdgeConditionedConv(4),
    "continuous filter": lambda: layers.ContinuousFilterConv(4),
    "edges to nodes": lambda: layers.EdgesToNodes("mean"),
}
MESSAGE = "A sparse tensor must be a matrix.*union.*shape"


def batch():
    import tensorflow as tf

    a = np.stack([np.eye(5, k=1) + np.eye(5, k=-1)] * 2).astype("float32")
    return np.ones((2, 5, 3), "float32"), tf.sparse.from_dense(a)


@pytest.mark.parametrize("name", MAKE | WITH_EDGES)
def test_layers(name):
    x, a = batch()
    edges = [np.ones((16, 1), "float32")] if name in WITH_EDGES else []
    with pytest.raises(ValueError, match=MESSAGE):
        (MAKE | WITH_EDGES)[name]()([x, a, *edges])


@pytest.mark.parametrize("name", ["GCN", "GraphSAGE", "nodes to edges", "in turn"])
def test_symbolic_inputs(name):
    inputs = [keras.Input((5, 3)), keras.Input((5, 5), sparse=True)]
    with pytest.raises(ValueError, match=MESSAGE):
        MAKE[name]()(inputs)


def test_features():
    import tensorflow as tf

    x, a = batch()
    with pytest.raises(ValueError, match=MESSAGE):
        layers.GCNConv(4)([tf.sparse.from_dense(x), tf.sparse.to_dense(a)])


def small_encoder():
    return layers.GraphSequential([layers.GraphSAGEConv(3)])


def same_views():
    return augment.graph.GraphViews([augment.graph.RandomEdgeDrop(0.0)])


TRAINERS = {
    "DGI": lambda: trainers.DGI(small_encoder()),
    "InfoGraph": lambda: trainers.InfoGraph(small_encoder()),
    "GRACE": lambda: trainers.GRACE(small_encoder(), augment=same_views()),
    "BGRL": lambda: trainers.BGRL(small_encoder(), augment=same_views()),
    "GAE": lambda: trainers.GAE(small_encoder()),
    "VGAE": lambda: trainers.VGAE(small_encoder(), layers.GCNConv(2), layers.GCNConv(2)),
    "GraphMAE": lambda: trainers.GraphMAE(small_encoder(), layers.GCNConv(3)),
}


@pytest.mark.parametrize("name", TRAINERS)
def test_fit(name):
    import tensorflow as tf

    trainer = TRAINERS[name]()
    trainer.compile("sgd")
    batches = tf.data.Dataset.from_tensors((batch(),))
    with pytest.raises(ValueError, match=MESSAGE):
        trainer.fit(batches, verbose=0)
    assert int(trainer.optimizer.iterations) == 0
