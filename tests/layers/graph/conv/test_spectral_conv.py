import keras
import numpy as np
import pytest
from keras import ops
from scipy.interpolate import CubicSpline

from keras_ssl import graphs
from keras_ssl.layers.graph import GraphSequential, SpectralConv
from tests.layers.graph.conformance import GraphLayerTest, tensors


@pytest.fixture
def a(rng):
    """Undirected and weighted, with an isolated node."""
    a = rng.uniform(0.5, 2.0, size=(9, 9)) * (rng.uniform(size=(9, 9)) < 0.4)
    a = np.tril(a, -1) + np.tril(a, -1).T
    a[3] = a[:, 3] = 0
    return a.astype("float32")


class TestConformance(GraphLayerTest):
    def test_single_batch_and_mixed(self):
        rng = np.random.default_rng(0)
        for x, basis in (((6, 3), (6, 4)), ((2, 6, 3), (6, 4)), ((2, 6, 3), (2, 6, 4))):
            for knots in (None, 3):
                self.run_layer_test(
                    SpectralConv,
                    init_kwargs={"channels": 5, "knots": knots, "activation": "relu"},
                    input_data=tuple(rng.normal(size=s).astype("float32") for s in (x, basis)),
                    expected_output_shape=(*x[:-1], 5),
                    expected_num_trainable_weights=2,
                )


def test_polynomials_of_eigenvalues_are_polynomials_of_the_laplacian(a, rng):
    """Every frequency, multipliers 1 - 2 t + 3 t^2 of each from features to channels."""
    x = rng.normal(size=(9, 3)).astype("float32")
    values, basis = graphs.laplacian_eigenbasis(a)
    kernels = rng.normal(size=(3, 3, 2))
    layer = SpectralConv(2, use_bias=False)
    layer.build([x.shape, basis.shape])
    layer.set_weights([sum(values[:, None, None] ** p * kernels[p] for p in range(3))])
    L = graphs.laplacian(a.astype("float64"))
    expected = sum(np.linalg.matrix_power(L, p) @ x @ kernels[p] for p in range(3))
    np.testing.assert_allclose(layer([x, basis]), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer([x[None], basis])[0], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer([x[None], basis[None]])[0], expected, rtol=1e-5, atol=1e-5)


def test_multipliers_of_one_leave_the_smooth_part(a, rng):
    x = rng.normal(size=(9, 2)).astype("float32")
    basis = SpectralConv.preprocess(a, 4)
    layer = SpectralConv(2, use_bias=False)
    layer.build([x.shape, basis.shape])
    layer.set_weights([np.tile(np.eye(2), (4, 1, 1))])
    _, vectors = np.linalg.eigh(graphs.laplacian(a).astype("float64"))
    expected = vectors[:, :4] @ vectors[:, :4].T @ x
    np.testing.assert_allclose(layer([x, basis]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("knots", [2, 4, 9])
def test_smooth_multipliers_are_splines_through_the_knots(a, rng, knots):
    x = rng.normal(size=(9, 2)).astype("float32")
    basis = SpectralConv.preprocess(a)
    smooth, free = SpectralConv(3, knots, use_bias=False), SpectralConv(3, use_bias=False)
    expected = smooth([x, basis])
    free.build([x.shape, basis.shape])
    points = ops.convert_to_numpy(smooth.kernel)
    assert points.shape == (knots, 2, 3)
    spline = CubicSpline(np.linspace(0, 8, knots), points, bc_type="natural")
    free.set_weights([spline(np.arange(9))])
    np.testing.assert_allclose(free([x, basis]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("knots", [None, 30])
def test_features_keep_their_variance_at_the_start(rng, knots):
    basis = np.linalg.qr(rng.normal(size=(400, 400)))[0].astype("float32")
    x = rng.normal(size=(400, 64)).astype("float32")
    assert 0.7 < np.std(SpectralConv(64, knots)([x, basis])) < 1.3


def test_sparse_features_equal_dense_ones(a, rng):
    x = (rng.normal(size=(9, 4)) * (rng.uniform(size=(9, 4)) < 0.4)).astype("float32")
    basis, layer = SpectralConv.preprocess(a, 5), SpectralConv(3)
    dense = layer([x, basis])
    out = layer(tensors([graphs.sparse_tensor(x), basis]))
    np.testing.assert_allclose(out, dense, rtol=1e-5, atol=1e-5)


def test_order_of_nodes_does_not_matter(a, rng):
    x, order = rng.normal(size=(9, 3)).astype("float32"), rng.permutation(9)
    basis, layer = SpectralConv.preprocess(a, 5), SpectralConv(4)
    expected = ops.convert_to_numpy(layer([x, basis]))[order]
    np.testing.assert_allclose(layer([x[order], basis[order]]), expected, rtol=1e-5, atol=1e-5)


def test_layers_follow_one_another_on_one_basis(a, rng):
    x = rng.normal(size=(9, 3)).astype("float32")
    network = GraphSequential([SpectralConv(4, activation="relu"), SpectralConv(2, knots=3)])
    assert network([x, SpectralConv.preprocess(a, 5)]).shape == (9, 2)


def test_a_batch_of_graphs_has_a_basis_each(a):
    both = SpectralConv.preprocess(np.stack([a, a * (a > 1)]), 4)
    np.testing.assert_array_equal(both[0], SpectralConv.preprocess(a, 4))
    np.testing.assert_array_equal(both[1], SpectralConv.preprocess(a * (a > 1), 4))


def test_half_precision_is_close_to_float32(a, rng):
    x, basis = rng.normal(size=(9, 5)).astype("float32"), SpectralConv.preprocess(a)
    layer, full = SpectralConv(3, knots=4, dtype="mixed_float16"), SpectralConv(3, knots=4)
    out = ops.convert_to_numpy(layer([x, basis]))
    assert out.dtype == "float16" and np.isfinite(out).all()
    full.build([x.shape, basis.shape])
    full.set_weights(layer.get_weights())
    np.testing.assert_allclose(out, full([x, basis]), atol=3e-2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compiles with tf.function")
def test_compiles_with_xla(a, rng):
    import tensorflow as tf

    x, basis = rng.normal(size=(9, 5)).astype("float32"), SpectralConv.preprocess(a, 6)
    layer = SpectralConv(3, knots=4)
    expected = layer([x, basis])
    compiled = tf.function(layer, jit_compile=True)
    np.testing.assert_allclose(compiled(tensors([x, basis])), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "basis", "message"),
    [
        ((9, 3), (8, 4), "features of 9 nodes.*a basis of 8"),
        ((9, 3), (9, 10), "basis of 9 nodes.*at most"),
        ((9, 3), (2, 9, 4), "batch axis"),
        ((9, 3), (9,), "batch axis"),
    ],
)
def test_a_basis_of_the_wrong_size_raises(x, basis, message):
    with pytest.raises(ValueError, match=message):
        SpectralConv(2)([np.ones(x), np.ones(basis)])


def test_another_number_of_frequencies_is_refused():
    layer = SpectralConv(2)
    layer([np.ones((9, 3)), np.ones((9, 4))])
    with pytest.raises(ValueError, match=r"built for a basis of 4 frequencies.*basis of 5"):
        layer([np.ones((9, 3)), np.ones((9, 5))])


def test_bad_arguments_raise(a):
    with pytest.raises(ValueError, match="`knots` must be an integer of at least 2"):
        SpectralConv(2, knots=1)
    with pytest.raises(TypeError, match="`knots` must be an integer of at least 2"):
        SpectralConv(2, knots=2.5)
    with pytest.raises(ValueError, match="`knots` must be at most the number of frequencies, 3"):
        SpectralConv(2, knots=4)([np.ones((9, 2)), np.ones((9, 3))])
    with pytest.raises(ValueError, match="symmetric"):
        SpectralConv.preprocess(np.triu(a))
    with pytest.raises(ValueError, match="`count`"):
        SpectralConv.preprocess(a, 10)
    with pytest.raises(ValueError, match="batch axis"):
        edges = graphs.edge_list(a)
        SpectralConv(2)([np.ones((9, 2)), edges])
