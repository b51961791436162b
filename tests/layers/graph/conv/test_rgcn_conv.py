import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import EdgeConditionedConv, GraphSequential, RGCNConv
from tests.layers.graph.conformance import (
    IS_TENSORFLOW,
    GraphLayerTest,
    assert_forms_agree,
    assert_gradients_are_slopes,
    tensors,
)

RELATIONS = 3


class TestConformance(GraphLayerTest):
    """Random edge types are mostly out of range, but conform."""

    def test_separate_kernels(self):
        self.check(RGCNConv, weights=3, edge_features=2, channels=4, relations=2)

    def test_bases(self):
        settings = {"bases": 2, "aggregation": "sum", "use_self": False}
        self.check(RGCNConv, weights=3, edge_features=3, channels=2, relations=3, **settings)

    def test_blocks(self):
        settings = {"blocks": 3, "use_bias": False}
        self.check(RGCNConv, weights=2, edge_features=1, channels=6, relations=4, **settings)


LAYERS = {
    "separate": lambda channels=4, **more: RGCNConv(channels, RELATIONS, **more),
    "bases": lambda channels=4, **more: RGCNConv(channels, RELATIONS, bases=2, **more),
    "blocks": lambda channels=4, **more: RGCNConv(channels, RELATIONS, blocks=2, **more),
}


@pytest.fixture
def graph(rng):
    """Features, a weighted directed graph, and the type of each edge as a matrix of one feature."""
    a = rng.uniform(0.5, 2, size=(8, 8)) * (rng.uniform(size=(8, 8)) < 0.5)
    a[3] = 0
    types = rng.integers(RELATIONS, size=(8, 8, 1))
    return rng.normal(size=(8, 6)).astype("float32"), a.astype("float32"), types


def formula(layer, x, a, types):
    """The paper's, in float64, one node and type after the other."""
    x, a = x.astype("float64"), a.astype("float64")
    by_name = {one.name: np.asarray(one, "float64") for one in layer.weights}
    kernels = by_name["kernel"]
    if layer.bases:
        kernels = np.stack(
            [
                sum(c * v for c, v in zip(row, kernels, strict=True))
                for row in by_name["coefficients"]
            ]
        )
    if layer.blocks:
        import scipy.linalg

        kernels = np.stack([scipy.linalg.block_diag(*blocks) for blocks in kernels])
    out = x @ by_name["self_kernel"] + by_name["bias"]
    for node in range(len(x)):
        for relation, kernel in enumerate(kernels):
            neighbors = [j for j in np.flatnonzero(a[node]) if types[node, j, 0] == relation]
            total = sum((a[node, j] * x[j] @ kernel for j in neighbors), np.zeros(out.shape[1]))
            is_mean = layer.aggregation == "mean"
            out[node] += total / max(len(neighbors), 1) if is_mean else total
    return out


@pytest.mark.parametrize("aggregation", ["mean", "sum"])
@pytest.mark.parametrize("channels", [2, 8])
@pytest.mark.parametrize("name", LAYERS)
def test_equals_its_formula_in_all_forms(graph, name, channels, aggregation):
    """Few or many channels choose the order of products."""
    x, a, types = graph
    layer = LAYERS[name](channels, aggregation=aggregation, bias_initializer="uniform")
    out = assert_forms_agree(layer, x, a, types)
    np.testing.assert_allclose(out, formula(layer, x, a, types), rtol=1e-4, atol=1e-4)
    floats = layer([x, a, types.astype("float32")])
    np.testing.assert_array_equal(floats, out)


def test_columns_of_zeros_and_ones_equal_numbers(graph):
    x, a, types = graph
    layer = LAYERS["bases"]()
    expected = layer([x, a, types])
    columns = np.eye(RELATIONS, dtype="float32")[types[..., 0]]
    out = assert_forms_agree(layer, x, a, columns)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_two_edges_of_different_types_between_the_same_nodes(graph):
    x, *_ = graph
    layer = LAYERS["separate"]()
    edges = {"senders": np.array([0, 0, 2]), "receivers": np.array([1, 1, 1])}
    listed = layer([x, edges, np.array([[0], [2], [2]])])
    a = np.zeros((8, 8), "float32")
    a[1, [0, 2]] = 1
    columns = np.zeros((8, 8, RELATIONS), "float32")
    columns[1, 0, [0, 2]] = columns[1, 2, 2] = 1
    np.testing.assert_allclose(layer([x, a, columns]), listed, rtol=1e-5, atol=1e-5)
    first, _, last = np.asarray(layer.kernel)
    expected = x[0] @ first + (x[0] + x[2]) / 2 @ last + x[1] @ np.asarray(layer.self_kernel)
    np.testing.assert_allclose(listed[1], expected, rtol=1e-4, atol=1e-5)


def test_a_type_out_of_range_has_no_effect(graph):
    x, a, types = graph
    layer = LAYERS["separate"]()
    fewer = np.where(types[..., 0] == 2, 0, a)
    for other in (-1, 7):
        out = layer([x, a, np.where(types == 2, other, types)])
        np.testing.assert_allclose(out, layer([x, fewer, types]), rtol=1e-5, atol=1e-5)


def test_equals_edge_conditioned_convolution_of_columns(graph):
    """Its kernels are sums over features of edges: here the sum aggregation of unweighted edges."""
    x, a, types = graph
    a = (a > 0).astype("float32")
    columns = np.eye(RELATIONS, dtype="float32")[types[..., 0]]
    layer = LAYERS["separate"](aggregation="sum")
    other = EdgeConditionedConv(4, aggregation="sum")
    out = layer([x, a, columns])
    other([x, a, columns])
    other.kernel.assign(layer.kernel)
    other.base_kernel.assign(np.zeros(other.base_kernel.shape))
    other.self_kernel.assign(layer.self_kernel)
    np.testing.assert_allclose(other([x, a, columns]), out, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="gradients are taken with a tape")
@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
@pytest.mark.parametrize("name", LAYERS)
def test_gradients(graph, name, form):
    x, a, types = graph
    layer = LAYERS[name](dtype="float64")
    if form != "dense":
        types = types[np.nonzero(a)]
        a = graphs.sparse_tensor(a) if form == "sparse" else graphs.edge_list(a)
    assert_gradients_are_slopes(layer, x, *tensors([a, types]))


def test_nodes_without_features_have_the_identity_as_sparse_ones(graph):
    import scipy.sparse

    _, a, types = graph
    identity = graphs.sparse_tensor(scipy.sparse.eye_array(8, dtype="float32", format="csr"))
    for build in LAYERS.values():
        layer = build()
        out = layer(tensors([identity, a, types]))
        np.testing.assert_allclose(out, layer([np.eye(8), a, types]), rtol=1e-5, atol=1e-5)


@pytest.mark.few(2)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("in_network", [False, True])
def test_half_precision_keeps_large_numbers_of_types(graph, policy, dtype, in_network):
    """bfloat16 holds integers up to 256 only; a `Graph` has its edge features in float32."""
    x, a, types = graph
    half = RGCNConv(4, 400, dtype=policy)
    types = (types + 300).astype(dtype)
    network = GraphSequential([half], dtype=policy) if in_network else half
    out = np.asarray(keras.ops.cast(network([x, a, types]), "float32"))
    full = RGCNConv(4, 400)
    full.build([x.shape, a.shape, types.shape])
    full.set_weights(half.get_weights())
    np.testing.assert_allclose(out, full([x, a, types]), atol=1e-1)


@pytest.mark.parametrize("name", LAYERS)
def test_kernels_start_as_if_each_were_the_only_one(name):
    layer = RGCNConv(30, 12, **{} if name == "separate" else {name: 3})
    layer.build([(5, 60), (5, 5), (5, 5, 1)])
    kernel = np.asarray(layer.kernel)
    limit = np.sqrt(6 / sum(kernel.shape[-2:]))
    assert 0.95 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="compiles with tf.function")
@pytest.mark.parametrize("name", LAYERS)
def test_compiles_with_xla_and_padded_lists(graph, name):
    import tensorflow as tf

    x, a, types = graph
    layer, edges = LAYERS[name](), graphs.edge_list(a, pad_to=60)
    listed = np.pad(types[np.nonzero(a)], ((0, 60 - np.count_nonzero(a)), (0, 0)))
    compiled = tf.function(layer, jit_compile=True)
    out = compiled(tensors([x, edges, listed]))
    np.testing.assert_allclose(out, layer([x, a, types]), rtol=1e-4, atol=1e-5)


def test_bad_arguments_raise(graph):
    x, a, types = graph
    with pytest.raises(ValueError, match="no features of edges"):
        RGCNConv(4, 3)([x, a])
    with pytest.raises(ValueError, match=r"3 columns of zeros and ones.*2 features"):
        RGCNConv(4, 3)([x, a, np.ones((8, 8, 2))])
    with pytest.raises(ValueError, match="`bases` and `blocks`"):
        RGCNConv(4, 3, bases=2, blocks=2)
    with pytest.raises(ValueError, match="blocks=4 with 6 features"):
        RGCNConv(4, 3, blocks=4)([x, a, types])
    with pytest.raises(ValueError, match="`relations`"):
        RGCNConv(4, 0)
    with pytest.raises(ValueError, match="`aggregation`"):
        RGCNConv(4, 3, aggregation="max")
