import keras
import numpy as np
import pytest
from keras import ops
from numpy.polynomial import chebyshev

from keras_ssl import graphs
from keras_ssl.layers.graph import ChebConv
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors


class TestConformance(GraphLayerTest):
    def test_preprocessed(self):
        self.check(ChebConv, weights=2, channels=4, activation="relu")

    def test_normalize(self):
        self.check(ChebConv, weights=1, channels=2, K=4, normalize=True, use_bias=False)

    def test_without_neighbors(self):
        self.check(ChebConv, weights=2, channels=2, K=1)


def layer_of(case, **arguments):
    kernel = case.weights["kernel"]
    layer = ChebConv(kernel.shape[-1], K=len(kernel), **arguments)
    layer.build([case.graph.x.shape, case.graph.a.shape])
    layer.set_weights([kernel, case.weights["bias"]])
    return layer


NORMALIZED = ["sym", "order_1", "order_5"]


@pytest.mark.parametrize("name", NORMALIZED)
def test_equals_pytorch_geometric_in_all_forms(name):
    case = peers.case(f"chebyshev/{name}")
    out = assert_forms_agree(layer_of(case, normalize=True), case.graph.x, case.graph.a)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [*NORMALIZED, "sym_lambda_max"])
def test_preprocessing_equals_pytorch_geometric(name):
    case = peers.case(f"chebyshev/{name}")
    settings = {"lambda_max": float(case.more["lambda_max"])} if case.more else {}
    a = ChebConv.preprocess(case.graph.a, **settings)
    out = assert_forms_agree(layer_of(case), case.graph.x, a)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)
    sparse = ChebConv.preprocess(case.graph.sparse, **settings)
    np.testing.assert_allclose(sparse.toarray(), a, atol=1e-6)


def test_any_matrix_can_replace_the_rescaled_laplacian():
    """For example PyTorch Geometric's Laplacian D - A."""
    case = peers.case("chebyshev/unnormalized")
    a = case.graph.a.astype("float64")
    rescaled = 2 / 3 * (np.diag(a.sum(1)) - a) - np.eye(len(a))
    out = layer_of(case)([case.graph.x, rescaled.astype("float32")])
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


@pytest.fixture
def a(rng):
    """Undirected and weighted, with a self-loop and an isolated node."""
    a = rng.uniform(0.5, 2.0, size=(8, 8)) * (rng.uniform(size=(8, 8)) < 0.4)
    a = np.tril(a, -1) + np.tril(a, -1).T
    a[3] = a[:, 3] = 0
    a[1, 1] = 1.5
    return a.astype("float32")


@pytest.mark.parametrize(("features", "channels"), [(2, 5), (5, 2), (3, 3)])
@pytest.mark.parametrize("K", [1, 2, 3, 6])
def test_equals_chebyshev_polynomials_of_the_eigenvalues(a, rng, features, channels, K):
    """Narrow and wide kernels use different recurrences."""
    x = rng.normal(size=(8, features)).astype("float32")
    layer = ChebConv(channels, K=K, use_bias=False)
    out = assert_forms_agree(layer, x, ChebConv.preprocess(a, lambda_max=None))
    values, vectors = np.linalg.eigh(graphs.laplacian(a).astype("float64"))
    scaled = 2 * values / values.max() - 1
    expected = 0
    for k, kernel in enumerate(np.asarray(layer.kernel)):
        filtered = vectors * chebyshev.chebval(scaled, np.eye(K)[k]) @ vectors.T
        expected = expected + filtered @ x @ kernel
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_normalizing_in_each_call_equals_preprocessing(a, rng):
    """Also with self-loops and isolated nodes, and for a batch of graphs."""
    x = rng.normal(size=(2, 8, 3)).astype("float32")
    a = np.stack([a, a * (a > 1)])
    layer, plain = ChebConv(4, K=4), ChebConv(4, K=4, normalize=True)
    expected = layer([x, ChebConv.preprocess(a)])
    plain.build([x.shape, a.shape])
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(plain([x, a]), expected, rtol=1e-5, atol=1e-5)


def test_order_of_nodes_does_not_matter(a, rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    layer, order = ChebConv(4, normalize=True), rng.permutation(8)
    expected = ops.convert_to_numpy(layer([x, a]))[order]
    np.testing.assert_allclose(
        layer([x[order], a[order][:, order]]), expected, rtol=1e-5, atol=1e-5
    )


def test_sparse_features_equal_dense_ones(a, rng):
    x = (rng.normal(size=(8, 4)) * (rng.uniform(size=(8, 4)) < 0.4)).astype("float32")
    layer = ChebConv(6, normalize=True)
    dense = layer([x, a])
    for form in forms(a).values():
        out = layer(tensors([graphs.sparse_tensor(x), form]))
        np.testing.assert_allclose(out, dense, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["dense", "list", "sparse"])
def test_half_precision_is_close_to_float32(a, rng, form):
    x = rng.normal(size=(8, 5)).astype("float32")
    layer = ChebConv(3, K=4, normalize=True, dtype="mixed_float16")
    out = ops.convert_to_numpy(layer(tensors([x, forms(a)[form]])))
    assert out.dtype == "float16" and np.isfinite(out).all()
    full = ChebConv(3, K=4, normalize=True)
    full.build([x.shape, a.shape])
    full.set_weights(layer.get_weights())
    np.testing.assert_allclose(out, full([x, a]), atol=2e-2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compiles with tf.function")
@pytest.mark.parametrize("form", ["dense", "list"])
def test_compiles_with_xla(a, rng, form):
    import tensorflow as tf

    x = rng.normal(size=(8, 5)).astype("float32")
    layer = ChebConv(3, K=4, normalize=True)
    expected = layer([x, a])
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(
        compiled(tensors([x, forms(a)[form]])), expected, rtol=1e-5, atol=1e-5
    )


def test_bad_arguments_raise(a):
    with pytest.raises(ValueError, match="`K` must be a positive integer"):
        ChebConv(2, K=0)
    with pytest.raises(ValueError, match="`lambda_max`"):
        ChebConv.preprocess(a, lambda_max=0)
    with pytest.raises(ValueError, match="symmetric"):
        ChebConv.preprocess(np.triu(a))
    with pytest.raises(ValueError, match="square"):
        ChebConv.preprocess(a[:5])
