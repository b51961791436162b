"""Tests that padding enters no batch statistics: outputs and moving averages of unpadded graphs."""

import keras
import numpy as np
import pytest

from keras_ssl import networks
from keras_ssl.layers import ProjectionHead, SyncBatchNormalization
from keras_ssl.layers.graph import (
    AttentionPool,
    ContinuousFilterConv,
    EdgeConditionedConv,
    GCNConv,
    GINConv,
    GraphSAGEConv,
    GraphSequential,
    JumpingKnowledge,
    MessagePassing,
    SumPool,
    VirtualNode,
)

NODES, PADDED, GRAPHS = 7, 5, 2


def graph_with_edge_features():
    """Return a union of graphs with 4 and 3 nodes: x, an edge list, e and i."""
    rng = np.random.default_rng(0)
    senders = np.array([0, 1, 2, 3, 1, 4, 5, 6, 5])
    receivers = np.array([1, 2, 3, 0, 0, 5, 6, 4, 4])
    edges = {"senders": senders, "receivers": receivers, "weights": np.ones(9, "float32")}
    x = rng.normal(2, 1, size=(NODES, 3)).astype("float32")
    return x, edges, rng.uniform(1, 2, size=(9, 1)).astype("float32"), np.repeat([0, 1], [4, 3])


def padded_union(fill=50.0):
    """Return the union with padded nodes and edges, whose features are not zeros."""
    x, edges, e, i = graph_with_edge_features()
    edges = {name: np.pad(one, (0, 4)) for name, one in edges.items()}
    x = np.pad(x, ((0, PADDED), (0, 0)), constant_values=fill)
    e = np.pad(e, ((0, 4), (0, 0)), constant_values=fill)
    return x, edges, e, np.pad(i, (0, PADDED), constant_values=-1)


def dense(edges, e, nodes, fill=50.0):
    a = np.zeros((nodes, nodes), "float32")
    features = np.full((nodes, nodes, 1), fill, "float32")
    a[edges["receivers"], edges["senders"]] = 1
    features[edges["receivers"], edges["senders"]] = e
    return a, features


def normalized(*layers):
    """Return layers in a `Sequential`, followed by batch normalization."""
    return keras.Sequential([*layers, SyncBatchNormalization(momentum=0.5)])


def on_nodes(layer):
    return GraphSequential([layer])


NETWORKS = {
    "Keras' batch normalization": lambda: on_nodes(keras.layers.BatchNormalization(momentum=0.5)),
    "gin": lambda: networks.gin((4, 4)),
    "graphs of gin": lambda: networks.gin((4, 4), classes=2, dropout=0.0, pool=SumPool(3)),
    "GINConv of another dtype": lambda: on_nodes(
        GINConv(normalized(keras.layers.Dense(4)), dtype="bfloat16")
    ),
    "aggregation of GraphSAGE": lambda: on_nodes(
        GraphSAGEConv(2, GraphSequential([SyncBatchNormalization(), MessagePassing("max")]))
    ),
    "edge network": lambda: on_nodes(EdgeConditionedConv(2, normalized(keras.layers.Dense(3)))),
    "filter network": lambda: on_nodes(
        ContinuousFilterConv(2, filter_network=normalized(keras.layers.Dense(2)))
    ),
    "attention pooling": lambda: on_nodes(
        AttentionPool(
            normalized(keras.layers.Dense(3)), normalized(keras.layers.Dense(1)), graphs=3
        )
    ),
    "virtual node": lambda: on_nodes(VirtualNode(normalized(keras.layers.Dense(3)), graphs=3)),
    "vectors of graphs": lambda: GraphSequential(
        [GCNConv(4), SumPool(3), SyncBatchNormalization(), keras.layers.Dense(2)]
    ),
    "nested": lambda: GraphSequential(
        [GraphSequential([GCNConv(4), SumPool(3)]), SyncBatchNormalization()]
    ),
    "nested encoder": lambda: GraphSequential(
        [GraphSequential([GCNConv(4)]), SyncBatchNormalization()]
    ),
    "jumping knowledge": lambda: GraphSequential(
        [JumpingKnowledge([GINConv(ProjectionHead((4, 4))), GINConv(ProjectionHead((4, 4)))])]
    ),
}


def trained(make, inputs, policy="float32"):
    """Return the output in training mode, and the moving averages afterwards."""
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    try:
        model = make()
        inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
        output = keras.ops.convert_to_numpy(model(list(inputs), training=True))
    finally:
        keras.config.set_dtype_policy("float32")
    return output.astype("float64"), [
        keras.ops.convert_to_numpy(one)
        for one in model.non_trainable_variables
        if "moving" in one.path
    ]


def assert_equal(found, expected, rows, tolerance=2e-5):
    np.testing.assert_allclose(found[0][:rows], expected[0][:rows], atol=tolerance, rtol=tolerance)
    assert found[1]
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_padded_unions(name):
    expected = trained(NETWORKS[name], graph_with_edge_features())
    found = trained(NETWORKS[name], padded_union())
    pooled = len(expected[0]) < NODES
    tolerance = 2e-2 if "dtype" in name else 2e-5
    assert_equal(found, expected, GRAPHS if pooled else NODES, tolerance)


@pytest.mark.parametrize("name", ["gin", "edge network", "filter network", "nested encoder"])
@pytest.mark.parametrize("form", ["mask", "dense", "batch"])
def test_masks(name, form):
    """A mask of nodes does as an index of -1, in all forms of the adjacency."""
    x, edges, e, _ = graph_with_edge_features()
    wide_x, wide_edges, wide_e, i = padded_union()
    unpadded = (x, edges, e)
    padded = (wide_x, wide_edges, wide_e, i >= 0)
    if form != "mask":
        unpadded = (x, *dense(edges, e, NODES))
        padded = (wide_x, *dense(edges, e, NODES + PADDED), i >= 0)
    if form == "batch":
        unpadded, padded = (
            keras.tree.map_structure(lambda one: np.stack([one, one]), one)
            for one in (unpadded, padded)
        )
    expected, found = (trained(NETWORKS[name], inputs) for inputs in (unpadded, padded))
    if form == "batch":
        found = found[0][:, :NODES], found[1]
    assert_equal(found, expected, NODES)


def test_statistics_are_those_of_the_nodes():
    """In closed form, in float64."""
    layer = keras.layers.BatchNormalization(momentum=0.75, epsilon=0.0)
    output, (mean, variance) = trained(lambda: on_nodes(layer), padded_union())
    x = graph_with_edge_features()[0].astype("float64")
    np.testing.assert_allclose(mean, 0.25 * x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.75 + 0.25 * x.var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(output[:NODES], (x - x.mean(0)) / x.std(0), atol=1e-5)


def test_edges_alone_enter_the_statistics_of_an_edge_network():
    network = normalized()
    trained(lambda: on_nodes(EdgeConditionedConv(2, network)), padded_union())
    e = graph_with_edge_features()[2].astype("float64")
    moving = network.layers[-1].moving_mean
    np.testing.assert_allclose(keras.ops.convert_to_numpy(moving), 0.5 * e.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_layer_in_float32_among_others_sees_the_mask(policy):
    def make():
        return GraphSequential(
            [GCNConv(4), SyncBatchNormalization(dtype="float32", momentum=0.5), GCNConv(2)]
        )

    found = trained(make, padded_union(), policy)
    assert_equal(found, trained(make, graph_with_edge_features(), policy), NODES, 1e-2)


def test_masked_normalization_of_any_rank_equals_numpy():
    rng = np.random.default_rng(0)
    x, mask = rng.normal(3, 2, size=(4, 5, 3)), rng.uniform(size=(4, 5)) < 0.5
    layer = SyncBatchNormalization(momentum=0.5, gamma_initializer="random_normal", epsilon=1e-3)
    found = keras.ops.convert_to_numpy(layer(x.astype("float32"), training=True, mask=mask))
    mean, variance = x[mask].mean(axis=0), x[mask].var(axis=0)
    gamma = keras.ops.convert_to_numpy(layer.gamma)
    np.testing.assert_allclose(found, gamma * (x - mean) / np.sqrt(variance + 1e-3), atol=1e-5)
    moving = keras.ops.convert_to_numpy(layer.moving_variance)
    np.testing.assert_allclose(moving, 0.5 + 0.5 * variance, rtol=1e-5)
