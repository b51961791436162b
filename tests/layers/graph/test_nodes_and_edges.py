"""`NodesToEdges` and `EdgesToNodes`."""

import keras
import numpy as np
import pytest

from keras_ssl.layers.graph import EdgesToNodes, NodesToEdges
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors
from tests.layers.graph.conformance import _graph as a_graph

COMBINATIONS = {
    "concat": lambda receiver, sender: np.concatenate([receiver, sender], axis=-1),
    "sum": np.add,
    "mean": lambda receiver, sender: (receiver + sender) / 2,
    "max": np.maximum,
    "product": np.multiply,
}


@pytest.fixture
def a(rng):
    """Directed and weighted; node 2 is isolated, node 4 only sends."""
    a = rng.uniform(0.5, 2.0, size=(6, 6)) * (rng.uniform(size=(6, 6)) < 0.5)
    a[2, :] = a[:, 2] = 0
    a[4, :] = 0
    return a.astype("float32")


@pytest.fixture
def x(rng):
    return rng.normal(size=(6, 3)).astype("float32")


class TestConformance(GraphLayerTest):
    def test_edges_to_nodes(self):
        self.check(EdgesToNodes, weights=0, edge_features=4, outputs=4)
        self.check(EdgesToNodes, weights=0, edge_features=4, outputs=4, aggregation="max")

    def test_nodes_to_edges(self):
        for combination, channels in (("concat", 6), ("product", 3)):
            for mode in self.modes:
                x, a, _ = a_graph(mode, None)
                places = (25,) if mode == "list" else (5, 5)
                self.run_layer_test(
                    NodesToEdges,
                    init_kwargs={"combination": combination},
                    input_data=(x, a),
                    expected_output_shape=(*x.shape[:-2], *places, channels),
                    expected_num_trainable_weights=0,
                )


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_edge_features_combine_sender_and_receiver(a, x, combination):
    layer = NodesToEdges(combination)
    rows, columns = np.nonzero(a)
    expected = COMBINATIONS[combination](x[rows].astype("float64"), x[columns])
    for name, form in forms(a).items():
        out = keras.ops.convert_to_numpy(layer(tensors([x, form])))
        mixed = keras.ops.convert_to_numpy(layer(tensors([x[None], form])))
        np.testing.assert_array_equal(mixed[0], out)
        if name == "dense":
            np.testing.assert_array_equal(out[a == 0], 0)
            out = out[rows, columns]
        np.testing.assert_allclose(out[: len(rows)], expected, rtol=1e-6)
        np.testing.assert_array_equal(out[len(rows) :], 0)  # padding


@pytest.mark.parametrize("aggregation", ["sum", "mean", "max", "min", "std"])
def test_node_features_aggregate_incoming_edges(a, x, rng, aggregation):
    e = rng.normal(size=(6, 6, 2)).astype("float32")
    out = assert_forms_agree(EdgesToNodes(aggregation), x, a, e)
    for node, row in enumerate(a):
        held = e[node, row != 0].astype("float64")
        expected = getattr(held, aggregation)(axis=0) if len(held) else np.zeros(2)
        np.testing.assert_allclose(out[node], expected, rtol=1e-5, atol=1e-6)


def test_both_layers_together_sum_over_neighbors(a, x):
    for form in forms(a).values():
        e = NodesToEdges()(tensors([x, form]))
        out = EdgesToNodes()([*tensors([x, form]), e])
        exists = (a != 0).astype("float64")
        expected = np.concatenate([exists.sum(1, keepdims=True) * x, exists @ x], axis=1)
        np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_edge_features_may_differ_between_examples_in_mixed_mode(a, rng):
    x = rng.normal(size=(4, 6, 3)).astype("float32")
    for form in forms(a).values():
        x_, form = tensors([x, form])
        out = EdgesToNodes("mean")([x_, form, NodesToEdges("sum")([x_, form])])
        for one, nodes in zip(out, x, strict=True):
            expected = EdgesToNodes("mean")([nodes, form, NodesToEdges("sum")([nodes, form])])
            np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-6)


def test_output_shapes_in_a_functional_model():
    x, matrix = keras.Input((3,), batch_size=6), keras.Input((6,), batch_size=6)
    assert NodesToEdges()([x, matrix]).shape == (6, 6, 6)
    listed = {
        name: keras.Input((), batch_size=9, dtype="int32") for name in ("senders", "receivers")
    }
    assert NodesToEdges("max")([x, listed]).shape == (9, 3)
    if keras.backend.backend() == "tensorflow":
        sparse = keras.Input((6,), batch_size=6, sparse=True)
        assert NodesToEdges()([x, sparse]).shape == (None, 6)
        assert EdgesToNodes()([x, sparse, NodesToEdges()([x, sparse])]).shape == (6, 6)


def test_bad_arguments_raise(a, x):
    with pytest.raises(ValueError, match=r"`combination`.*'difference'"):
        NodesToEdges("difference")
    with pytest.raises(ValueError, match=r"`\[x, a, e\]`"):
        EdgesToNodes()([x, a])
