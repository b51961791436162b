"""Disjoint and padded batches, compared with their graphs."""

import dataclasses

import keras
import networkx
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import data, graphs

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data is tested once"
)


@pytest.fixture
def members(rng):
    """Directed and weighted graphs, one without edges, one with an isolated node."""
    parts = []
    for number, (n, density) in enumerate([(4, 0.5), (3, 0.0), (6, 0.4), (1, 1.0), (5, 0.6)]):
        a = sp.random_array((n, n), density=density, rng=rng)
        e = rng.normal(size=(a.nnz, 2))
        parts.append(graphs.Graph(rng.normal(size=(n, 3)), a, e, y=number % 2))
    return parts


def as_union(a, n):
    import tensorflow as tf

    if isinstance(a, tf.SparseTensor):
        assert (np.diff(a.indices[:, 0] * n + a.indices[:, 1]) > 0).all()
        return tf.sparse.to_dense(a).numpy()
    return graphs.from_edge_list({k: v.numpy() for k, v in a.items()}, n).a.toarray()


@pytest.mark.parametrize("adjacency", ["sparse", "edges"])
def test_disjoint_batches_are_unions(members, adjacency):
    batches = data.disjoint_batches(members, 2, adjacency=adjacency)
    assert len(batches) == 3
    for number, ((x, a, e, i), y) in enumerate(batches):
        union, expected = graphs.disjoint_union(members[2 * number : 2 * number + 2])
        np.testing.assert_array_equal(x, union.x)
        np.testing.assert_array_equal(as_union(a, union.nodes), union.a.toarray())
        np.testing.assert_array_equal(e, union.e)
        np.testing.assert_array_equal(i, expected)
        np.testing.assert_array_equal(y, union.y)


def test_static_shapes(members):
    import tensorflow as tf

    batches = data.disjoint_batches(members, 2, adjacency="edges", static_shapes=True)
    assert all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(batches.element_spec))
    for number, ((x, a, e, i), y, weight) in enumerate(batches):
        some = members[2 * number : 2 * number + 2]
        union, graph_of = graphs.disjoint_union(some)
        n, edges = union.nodes, union.edges
        assert x.shape == (11, 3)
        np.testing.assert_array_equal(x[:n], union.x)
        np.testing.assert_array_equal(i, np.pad(graph_of, (0, 11 - n), constant_values=-1))
        assert not x[n:].numpy().any() and not a["weights"][edges:].numpy().any()
        np.testing.assert_array_equal(as_union(a, 11)[:n, :n], union.a.toarray())
        np.testing.assert_array_equal(e[:edges], union.e)
        np.testing.assert_array_equal(y[: len(some)], union.y)
        np.testing.assert_allclose(weight, np.array([1, len(some) == 2]) * 6 / 5)


def test_training_does_not_depend_on_static_shapes(members):
    from keras_ssl.layers.graph import GCNConv, SumPool

    class Model(keras.Model):
        def __init__(self, graphs=None):
            super().__init__()
            self.conv = GCNConv(4, normalize=True, kernel_initializer=initializer(1))
            self.pool = SumPool(graphs=graphs)
            self.classify = keras.layers.Dense(2, kernel_initializer=initializer(2))

        def call(self, inputs):
            x, a, i = inputs
            return self.classify(self.pool([self.conv([x, a]), i]))

    def initializer(seed):
        return keras.initializers.GlorotUniform(seed)

    plain = [dataclasses.replace(graph, e=None) for graph in members]
    results = []
    for static in (False, True):
        model = Model(graphs=2 if static else None)
        # the mean over the graphs of a batch, in the smaller last batch as well
        loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )
        model.compile("sgd", loss)
        batches = data.disjoint_batches(plain, 2, adjacency="edges", static_shapes=static)
        model.fit(batches, epochs=3, verbose=0)
        results.append(model.classify.kernel.numpy())
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-6)


def test_padded_batches(members):
    for nodes in (None, 8):
        batches = data.padded_batches(members, 2, nodes=nodes)
        places = nodes or 6
        assert batches.element_spec[0][1].shape.as_list() == [None, places, places]
        for number, ((x, a, e, mask), y) in enumerate(batches):
            some = members[2 * number : 2 * number + 2]
            assert len(y) == len(some)
            for k, graph in enumerate(some):
                n = graph.nodes
                np.testing.assert_array_equal(x[k, :n], graph.x)
                np.testing.assert_array_equal(a[k, :n, :n], graph.a.toarray())
                np.testing.assert_array_equal(e[k].numpy()[graph.a.nonzero()], graph.e)
                np.testing.assert_array_equal(mask[k], np.arange(places) < n)
                assert not x[k, n:].numpy().any() and (a[k].numpy() != 0).sum() == graph.edges
                assert y[k] == graph.y


def test_padded_batches_with_static_shapes(members):
    import tensorflow as tf

    batches = data.padded_batches(members, 2, drop_remainder=True)
    assert len(batches) == 2
    assert all(spec.shape.is_fully_defined() for spec in tf.nest.flatten(batches.element_spec))


@pytest.mark.parametrize("make", [data.disjoint_batches, data.padded_batches])
def test_shuffling(members, make):
    many = [dataclasses.replace(graph, y=k) for k, graph in enumerate(members * 4)]

    def orders(seed):
        batches = make(many, 3, shuffle=True, seed=seed)
        return [[int(k) for _, y in batches for k in y] for _ in range(2)]

    first, second = orders(1)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second != list(range(20))
    # over all graphs, not only those of the next batches
    assert max(first[:6]) > 9 and min(first[-6:]) < 10
    assert orders(1) == [first, second]
    assert orders(2)[0] != first


@pytest.mark.parametrize("make", [data.disjoint_batches, data.padded_batches])
def test_invalid_graphs_raise(members, make):
    empty = graphs.Graph(np.zeros((0, 3)), sp.csr_array((0, 0)), np.zeros((0, 2)), y=0)
    with pytest.raises(ValueError, match=r"must have nodes.*graphs \[1\] of 2"):
        make([members[0], empty], 2)
    with pytest.raises(ValueError, match="at least one graph"):
        make([], 2)
    with pytest.raises(ValueError, match="same kind of `e`"):
        make([members[0], dataclasses.replace(members[1], e=None)], 2)
    with pytest.raises(ValueError, match="same kind of `y`"):
        make([members[0], dataclasses.replace(members[1], y=None)], 2)
    with pytest.raises(ValueError, match="labels of the same shape"):
        make([members[0], dataclasses.replace(members[1], y=np.arange(3))], 2)
    with pytest.raises(ValueError, match="must have features"):
        make([graphs.Graph(a=np.eye(2))], 2)
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        make(members, 0)
    with pytest.raises(TypeError, match="`batch_size` must be a positive integer"):
        make(members, True)
    assert len(make(members, np.int64(2))) == 3
    for one in (members[0], networkx.path_graph(2), 3):
        with pytest.raises(TypeError, match="`graphs` must be a list of graphs"):
            make(one, 2)
    with pytest.raises(ValueError, match="at most the number of graphs, 5"):
        make(members, 6, drop_remainder=True)


def test_bad_arguments(members):
    with pytest.raises(ValueError, match="`adjacency` must be 'sparse' or 'edges'"):
        data.disjoint_batches(members, 2, adjacency="dense")
    with pytest.raises(ValueError, match="`static_shapes` needs `adjacency='edges'`"):
        data.disjoint_batches(members, 2, static_shapes=True)
    with pytest.raises(ValueError, match=r"largest graph, 6.*nodes=5"):
        data.padded_batches(members, 2, nodes=5)
    with pytest.raises(TypeError, match="`nodes` must be an integer"):
        data.padded_batches(members, 2, nodes="all")


def test_without_labels_and_edge_features(members):
    plain = [graphs.Graph(graph.x, graph.a) for graph in members]
    (inputs,) = next(iter(data.disjoint_batches(plain, 2)))
    assert len(inputs) == 3
    (inputs,) = next(iter(data.disjoint_batches(plain, 2, adjacency="edges", static_shapes=True)))
    assert len(inputs) == 3
    (inputs,) = next(iter(data.padded_batches(plain, 2)))
    assert len(inputs) == 3
