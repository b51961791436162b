import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers import graph as layers
from keras_ssl.layers.graph import MessagePassing
from keras_ssl.layers.graph.conv.message_passing import AGGREGATIONS
from tests.layers.graph.conformance import GraphLayerTest, forms, tensors


class TestConformance(GraphLayerTest):
    def test_sum(self):
        self.check(MessagePassing, weights=0)

    def test_std(self):
        self.check(MessagePassing, weights=0, aggregation="std")


@pytest.fixture
def a(rng):
    """Directed and weighted, with a self-loop, an isolated node and one that only sends."""
    a = rng.uniform(0.5, 2.0, size=(7, 7)) * (rng.uniform(size=(7, 7)) < 0.4)
    a[2, :] = a[:, 2] = 0
    a[4, :] = 0
    a[1, 1] = 1.5
    return a.astype("float32")


def expected(a, x, aggregation):
    """The definition, node by node in float64."""
    a, x = a.astype("float64"), x.astype("float64")
    out = np.zeros_like(x)
    for node, row in enumerate(a):
        messages = row[row != 0, None] * x[row != 0]
        if len(messages):
            out[node] = getattr(np, aggregation)(messages, axis=0)
    return out


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_equals_the_definition(a, rng, aggregation, form):
    x = rng.normal(size=(7, 3)).astype("float32")
    out = MessagePassing(aggregation)([x, forms(a)[form]])
    np.testing.assert_allclose(out, expected(a, x, aggregation), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_mixed_mode_equals_single_mode_per_example(a, rng, aggregation, form):
    x = rng.normal(size=(3, 7, 2)).astype("float32")
    out = MessagePassing(aggregation)([x, forms(a)[form]])
    for one, features in zip(out, x, strict=True):
        np.testing.assert_allclose(one, expected(a, features, aggregation), rtol=1e-5, atol=1e-6)


def test_batch_mode_equals_single_mode_per_graph(a, rng):
    x = rng.normal(size=(2, 7, 2)).astype("float32")
    out = MessagePassing("mean")([x, np.stack([a, a.T])])
    for one, features, matrix in zip(out, x, (a, a.T), strict=True):
        np.testing.assert_allclose(one, expected(matrix, features, "mean"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_graph_without_edges_gives_zeros(aggregation):
    none = {"senders": np.zeros(0, "int32"), "receivers": np.zeros(0, "int32")}
    for a in (np.zeros((4, 4), "float32"), none):
        np.testing.assert_array_equal(MessagePassing(aggregation)([np.ones((4, 2)), a]), 0)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_sums_in_half_precision_are_accumulated_in_float32(form, dtype):
    """1,000 ones: accumulated in bfloat16 they would sum to 256."""
    a = np.zeros((1000, 1000), "float32")
    a[0] = 1
    out = MessagePassing(dtype=dtype)([np.ones((1000, 1)), forms(a)[form]])
    assert float(out[0, 0]) == pytest.approx(1000, rel=5e-3)


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_means_of_many_messages_do_not_overflow_in_float16(form):
    """3,000 messages of 40 and 60, whose sum overflows in float16."""
    a = np.zeros((3001, 3001), "float32")
    a[0, 1:] = 1
    x = np.where(np.arange(3001) % 2, 40.0, 60.0)[:, None]
    given = tensors([x, forms(a)[form]])
    mean, std = (MessagePassing(name, dtype="mixed_float16")(given) for name in ("mean", "std"))
    assert float(mean[0, 0]) == pytest.approx(50, rel=1e-3)
    assert float(std[0, 0]) == pytest.approx(10, rel=1e-3)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float32"])
def test_the_gradient_of_the_standard_deviation_of_equal_messages_is_zero(a, dtype):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken with a tape")
    import tensorflow as tf

    x = tf.ones((7, 2))
    layer = MessagePassing("std", dtype=dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        deviations = layer([x, (a != 0).astype("float32")])
    np.testing.assert_array_equal(tape.gradient(deviations, x), 0)


class Gated(MessagePassing):
    """A custom message, aggregation and update."""

    def message(self, x, edges, e=None):
        return e * (edges.from_receivers(x) - edges.from_senders(x))

    def update(self, x, aggregated):
        return x + aggregated


def test_a_custom_layer_uses_both_nodes_and_edge_features(a, rng):
    x = rng.normal(size=(7, 3)).astype("float32")
    e = rng.normal(size=(7, 7, 3)).astype("float32")
    wanted = x + sum((a[:, [j]] != 0) * e[:, j] * (x - x[j]) for j in range(7))
    np.testing.assert_allclose(Gated()([x, a, e]), wanted, rtol=1e-5, atol=1e-5)
    rows, columns = np.nonzero(a)
    for form in (graphs.sparse_tensor(a), graphs.edge_list(a)):
        out = Gated()([x, form, e[rows, columns]])
        np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "a", "message"),
    [
        ((5, 3), (4, 4), "5 nodes.*adjacency of 4"),
        ((5, 3), (5, 4), "square"),
        ((5, 3), (2, 5, 5), r"\(batch, nodes, nodes\)"),
        ((5,), (5, 5), r"\(nodes, features\)"),
    ],
)
def test_mismatched_shapes_raise(x, a, message):
    with pytest.raises(ValueError, match=message):
        MessagePassing()([np.ones(x), np.ones(a)])


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("dense", (5, 2)),  # would broadcast with any matrix of messages
        ("dense", (25, 2)),
        ("list", (1, 2)),
        ("list", (27, 2)),
        ("list", (28,)),
        ("sparse", (5, 5, 2)),
        ("sparse", (3, 25, 2)),
    ],
)
def test_mismatched_edge_features_raise(form, shape):
    layer = layers.EdgesToNodes()
    with pytest.raises(ValueError, match="Edge features must have shape"):
        layer(tensors([np.ones((5, 3)), forms(np.ones((5, 5)))[form], np.ones(shape)]))


def test_sparse_features_raise_without_a_projection():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("layers take sparse features on TensorFlow")
    x, a = graphs.sparse_tensor(np.eye(5, 3)), graphs.sparse_tensor(np.ones((5, 5)))
    for layer in (MessagePassing(), layers.GINConv(keras.layers.Dense(2)), layers.NodesToEdges()):
        with pytest.raises(ValueError, match="needs dense node features"):
            layer([x, a])


def test_invalid_graphs_raise():
    x = np.ones((5, 3))
    with pytest.raises(ValueError, match="senders"):
        MessagePassing()([x, {"from": np.zeros(2, "int32")}])
    with pytest.raises(ValueError, match="same length"):
        edges = {"senders": np.zeros(2, "int32"), "receivers": np.zeros(3, "int32")}
        MessagePassing()([x, edges])
    with pytest.raises(ValueError, match=r"`\[x, a\]`"):
        MessagePassing()(x)
    with pytest.raises(ValueError, match=r"aggregation.*'median'"):
        MessagePassing("median")


def test_functional_models_take_sparse_adjacencies_and_edge_lists(a, rng, tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("functional models with sparse input are TensorFlow's")
    x = rng.normal(size=(7, 3)).astype("float32")
    features = keras.Input((3,))
    sparse = keras.Input((None,), sparse=True)
    listed = {
        name: keras.Input((), dtype=dtype, name=name)
        for name, dtype in (("senders", "int32"), ("receivers", "int32"), ("weights", "float32"))
    }
    for number, (given, form) in enumerate(((sparse, "sparse"), (listed, "list"))):
        model = keras.Model([features, given], MessagePassing("mean")([features, given]))
        wanted = expected(a, x, "mean")
        np.testing.assert_allclose(
            model(tensors([x, forms(a)[form]])), wanted, rtol=1e-5, atol=1e-6
        )
        model.save(tmp_path / f"{number}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{number}.keras")
        np.testing.assert_allclose(
            loaded(tensors([x, forms(a)[form]])), wanted, rtol=1e-5, atol=1e-6
        )
