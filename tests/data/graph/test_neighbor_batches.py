"""Sampled neighbors: edges of the graph, all if they fit, otherwise a uniform sample."""

import itertools

import keras
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import data, graphs
from keras_ssl.data.graph.neighbor_batches import distinct_places, tree_edges, tree_sizes

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data is tested once", allow_module_level=True)


@pytest.fixture
def graph(rng):
    """Directed and weighted; x identifies nodes, e identifies edges; node 3 receives nothing."""
    a = rng.uniform(0.5, 2, size=(12, 12)) * (rng.uniform(size=(12, 12)) < 0.5)
    a[3] = 0
    a = sp.csr_array(a)
    return graphs.Graph(np.eye(12), a, e=a.data[:, None], y=np.arange(12))


def parts_of(batch):
    (x, a, e, mask), y, weight = batch
    assert x.shape[1:] == (12,) and e.shape == (len(a["weights"]), 1)
    edges = zip(*(part.numpy() for part in (a["senders"], a["receivers"])), strict=True)
    nodes = [int(row.argmax()) if row.any() else None for row in x.numpy()]
    assert mask.numpy().tolist() == [node is not None for node in nodes]
    return nodes, list(edges), a["weights"].numpy(), e.numpy()[:, 0], y.numpy(), weight.numpy()


def test_every_edge_is_an_edge_of_the_graph(graph):
    batches = data.neighbor_batches(graph, np.arange(12), [4, 3], 5, seed=0)
    assert len(batches) == 3
    dense = graph.a.toarray()
    for number, batch in enumerate(batches):
        nodes, edges, weights, e, y, sample_weight = parts_of(batch)
        assert len(nodes) == 5 + 20 + 60 and len(edges) == 80
        count = min(5, 12 - 5 * number)
        assert nodes[:count] == list(range(5 * number, 5 * number + count))
        np.testing.assert_array_equal(e, weights)
        children = {k: [] for k in range(25)}
        for (sender, receiver), weight in zip(edges, weights, strict=True):
            if weight:
                assert weight == dense[nodes[receiver], nodes[sender]]
                children[receiver].append(nodes[sender])
            else:
                assert nodes[sender] is None
        for k, sampled in children.items():
            degree = 0 if nodes[k] is None else (dense[nodes[k]] != 0).sum()
            assert len(set(sampled)) == len(sampled) == min(degree, 4 if k < 5 else 3)
        known = [k for k, node in enumerate(nodes) if node is not None]
        assert [y[k] for k in known] == [nodes[k] for k in known]
        np.testing.assert_allclose(sample_weight[:count], 3 * len(nodes) / 12)
        assert not sample_weight[count:].any()


def test_shapes_are_static(graph):
    import tensorflow as tf

    batches = data.neighbor_batches(graph, np.arange(12), [4, 3], 5)
    specs = tf.nest.flatten(batches.element_spec)
    assert all(spec.shape.is_fully_defined() for spec in specs)


def test_with_all_neighbors_outputs_equal_those_on_the_whole_graph(graph):
    """With fanouts as large as degrees, two layers of means equal those on the whole graph."""
    from keras_ssl.layers.graph import MessagePassing

    layers = [MessagePassing("mean") for _ in range(2)]

    def apply(x, a):
        for layer in layers:
            x = layer([x, a])
        return keras.ops.convert_to_numpy(x)

    whole = apply(graph.x, graph.a.toarray())
    (x, a, *_), _, _ = next(iter(data.neighbor_batches(graph, np.arange(12), [12, 12], 12)))
    np.testing.assert_allclose(apply(x, a)[:12], whole, atol=1e-6)


@pytest.mark.parametrize("kind", ["GraphSAGE", "GAT", "preprocessed GCN"])
def test_networks_on_all_neighbors_equal_those_on_the_whole_graph(graph, kind):
    """Layers whose messages depend on sender and receiver only; GCN only if preprocessed."""
    from keras_ssl.layers.graph import GATConv, GCNConv, GraphSAGEConv, GraphSequential

    layer, fanouts = {
        "GraphSAGE": (GraphSAGEConv, [12, 12]),
        "GAT": (GATConv, [12, 12]),
        "preprocessed GCN": (GCNConv, [13, 13]),  # including the self-loop
    }[kind]
    a = graph.a
    if kind == "GAT":
        a = a.toarray() * (
            1 - np.eye(12)
        )  # no self-loops: their sender would be another node of the tree
    if kind == "preprocessed GCN":
        a = GCNConv.preprocess(a.maximum(a.T))
    plain = graphs.Graph(graph.x, a)
    network = GraphSequential([layer(8, activation="relu"), layer(4)])
    whole = np.asarray(network([plain.x, plain.a.toarray()]))
    ((x, a, _),) = next(iter(data.neighbor_batches(plain, np.arange(12), fanouts, 12)))
    np.testing.assert_allclose(np.asarray(network([x, a]))[:12], whole, atol=1e-5)


def test_gcn_uses_the_degrees_of_the_tree(graph):
    """The outermost nodes have degree 0: the documented difference from the whole graph."""
    from keras_ssl.layers.graph import GCNConv

    layer = GCNConv(4, normalize=True)
    a = (graph.a.toarray() != 0).astype("float32")
    plain = graphs.Graph(graph.x, a)
    ((x, edges, _),) = next(iter(data.neighbor_batches(plain, np.arange(12), [12], 12)))
    loops = np.eye(12)[np.diag(a) == 0].sum(0)  # self-loops are added to nodes without one
    received = a.sum(1) + loops
    weights = a + np.diag(loops)
    found = np.asarray(layer([x, edges]))[:12]
    whole = weights / np.sqrt(np.outer(received, received)) @ np.asarray(layer.kernel)
    np.testing.assert_allclose(np.asarray(layer([plain.x, a])), whole, atol=1e-5)
    assert abs(found - whole).max() > 1e-2


def test_subsets_are_uniform(rng):
    """Chi-square test of the counts of all subsets."""
    from scipy.stats import chisquare

    counts = np.repeat(np.array([6, 3, 1, 0], np.int32), 20_000)
    places, exist = (part.numpy() for part in distinct_places(counts, 3, [1, 2]))
    many = np.sort(places[:20_000], axis=1)
    keys, observed = np.unique(many @ [100, 10, 1], return_counts=True)
    expected = [100 * i + 10 * j + k for i, j, k in itertools.combinations(range(6), 3)]
    assert keys.tolist() == expected
    assert chisquare(observed).pvalue > 1e-3
    reference = [np.sort(rng.choice(6, 3, replace=False)) @ [100, 10, 1] for _ in range(20_000)]
    assert abs(observed - np.unique(reference, return_counts=True)[1]).max() < 250
    assert exist[:20_000].all()
    for row, count in ((20_000, 3), (40_000, 1), (60_000, 0)):
        rows = slice(row, row + 20_000)
        assert (exist[rows] == (np.arange(3) < count)).all()
        assert (places[rows] == np.arange(3) * exist[rows]).all()


def test_neighbors_are_sampled_uniformly(graph):
    node = int(np.diff(graph.a.indptr).argmax())
    batches = data.neighbor_batches(graph, np.full(4000, node), [2], 4000, seed=3)
    nodes, *_ = parts_of(next(iter(batches)))
    neighbors = graph.a.indices[graph.a.indptr[node] : graph.a.indptr[node + 1]]
    shares = np.bincount(nodes[4000:], minlength=12)[neighbors] / 4000
    np.testing.assert_allclose(shares, 2 / len(neighbors), atol=0.05)


def test_seeds_and_epochs(graph):
    def runs(seed, shuffle=True):
        batches = data.neighbor_batches(graph, np.arange(12), [2], 4, shuffle=shuffle, seed=seed)
        return [[parts_of(batch)[0] for batch in batches] for _ in range(2)]

    first, second = runs(1)
    assert [first, second] == runs(1)
    assert first != second and first != runs(2)[0]
    ordered = runs(1, shuffle=False)
    assert ordered[0] != ordered[1]
    assert [nodes[:4] for nodes in ordered[0]] == [nodes[:4] for nodes in ordered[1]]
    assert sorted(node for nodes in first for node in nodes[:4]) == list(range(12))


def test_seeds_are_shuffled_over_all_batches():
    graph = graphs.Graph(np.arange(400.0)[:, None], sp.csr_array(np.eye(400)))
    batches = data.neighbor_batches(graph, np.arange(400), [1], 20, shuffle=True, seed=0)
    first = next(iter(batches))[0][0].numpy()[:20, 0]
    assert abs(first.mean() - 199.5) < 5 * 115 / np.sqrt(20) and first.max() - first.min() > 200


def test_layers_are_sampled_independently():
    """Every node has the same 12 neighbors, so equal draws would give equal nodes."""
    graph = graphs.Graph(np.arange(12.0)[:, None], sp.csr_array(np.ones((12, 12))))
    equal = []
    for batch in data.neighbor_batches(graph, np.arange(12), [2, 2], 4, seed=0).repeat(20):
        nodes = batch[0][0].numpy()[:, 0]
        first, second = nodes[4:12].reshape(4, 2), nodes[12:28].reshape(8, 2)
        equal += [*(first == second[:4]).all(axis=1), *(first == second[4:]).all(axis=1)]
        equal += [*(second[:4] == second[4:]).all(axis=1)]
    assert np.mean(equal) < 0.05  # 1 in 132


def test_sparse_features_and_masks(graph):
    sparse = graphs.Graph(sp.csr_array(graph.x), graph.a, graph.e, graph.y)
    mask = np.arange(12) % 3 == 0
    for one, other in zip(
        data.neighbor_batches(graph, mask, [3, 2], 2, seed=0),
        data.neighbor_batches(sparse, np.flatnonzero(mask), [3, 2], 2, seed=0),
        strict=True,
    ):
        np.testing.assert_array_equal(one[0][0], other[0][0])


def test_without_labels_or_edges():
    lonely = graphs.Graph(np.eye(4), sp.csr_array((4, 4)))
    ((x, a, _),) = next(iter(data.neighbor_batches(lonely, [2], [3], 2)))
    assert x.numpy().sum() == 1 and not a["weights"].numpy().any()


def test_drop_remainder(graph):
    assert len(data.neighbor_batches(graph, np.arange(12), [2], 5, drop_remainder=True)) == 2


def test_trees():
    senders, receivers = tree_edges(2, [3, 1])
    assert senders.tolist() == list(range(2, 14))
    assert receivers.tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7]
    assert tree_sizes(2, [3, 1]) == (14, 12)


def test_a_network_trains_on_sampled_batches(graph):
    from keras_ssl.layers.graph import GraphSAGEConv, GraphSequential

    model = GraphSequential([GraphSAGEConv(16, activation="relu"), GraphSAGEConv(12)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss)
    plain = graphs.Graph(graph.x, graph.a, y=graph.y)
    batches = data.neighbor_batches(plain, np.arange(12), [4, 3], 6, shuffle=True, seed=0)
    losses = model.fit(batches, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": [12]}, "`seeds` must be integers from 0 to 11.*12 to 12"),
        ({"seeds": [-1]}, "`seeds` must be integers from 0 to 11"),
        ({"seeds": [0.5]}, "`seeds` must be integers"),
        ({"seeds": []}, "`seeds` must be a vector of at least one node"),
        ({"seeds": np.zeros(12, bool)}, "at least one node"),
        ({"seeds": np.ones(5, bool)}, r"as a mask must have shape \(12,\)"),
        ({"fanouts": [3, 0]}, r"`fanouts\[1\]` must be a positive integer"),
        ({"fanouts": []}, "`fanouts` must be a list of one number per layer"),
        ({"fanouts": 3}, "`fanouts` must be a list of one number per layer.*fanouts=3"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"batch_size": 9, "drop_remainder": True}, "at most the number of seeds, 2"),
    ],
)
def test_bad_arguments(graph, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.neighbor_batches(
            graph, **({"seeds": [0, 1], "fanouts": [2], "batch_size": 1} | arguments)
        )
