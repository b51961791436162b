"""Sparse products and their gradients, compared with NumPy's dense product in float64."""

import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.ops.graph import sparse as products
from keras_ssl.ops.graph.sparse import with_values

SHAPES = [(7, 5), (5, 7), (1, 1)]
is_tensorflow = keras.backend.backend() == "tensorflow"


def matrices(n, m, features=3, density=0.4):
    rng = np.random.default_rng(n)
    a = rng.normal(size=(n, m)) * (rng.uniform(size=(n, m)) < density)
    a[0] = 0  # an empty row
    return a.astype("float32"), rng.normal(size=(m, features)).astype("float32")


@pytest.mark.parametrize("shape", SHAPES)
def test_product(shape):
    a, h = matrices(*shape)
    sparse = graphs.sparse_tensor(a)
    expected = a.astype("float64") @ h
    h = keras.ops.convert_to_tensor(h)
    assert np.allclose(products.sparse_product(sparse, h), expected, atol=1e-6)
    assert np.allclose(products.multiply_features(sparse, keras.Variable(h)), expected, atol=1e-6)
    assert np.allclose(products.portable_product(sparse, h), expected, atol=1e-6)
    assert np.allclose(
        products.multiply_features(keras.ops.convert_to_tensor(a), h), expected, atol=1e-6
    )


tensorflow_kernels = pytest.mark.parametrize(
    "kernel", [products.small_product, products.large_product, products.portable_product]
)


@pytest.mark.skipif(not is_tensorflow, reason="TensorFlow's kernels")
class TestOnTensorFlow:
    @tensorflow_kernels
    @pytest.mark.parametrize("in_graph", [False, True])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_kernels_and_gradients(self, kernel, in_graph, shape):
        import tensorflow as tf

        a, h = matrices(*shape)
        probe = np.random.default_rng(1).normal(size=(shape[0], 3)).astype("float32")
        sparse = graphs.sparse_tensor(a)

        def step(values, h):
            with tf.GradientTape() as tape:
                tape.watch([values, h])
                product = kernel(sparse.with_values(values), h)
                loss = tf.reduce_sum(product * probe)
            by_values, by_h = tape.gradient(loss, [values, h])
            return product, by_values, tf.convert_to_tensor(by_h)

        step = tf.function(step) if in_graph else step
        product, by_values, by_h = step(sparse.values, tf.constant(h))
        assert np.allclose(product, a.astype("float64") @ h, atol=1e-5)
        assert np.allclose(by_h, a.T.astype("float64") @ probe, atol=1e-5)
        rows, columns = sparse.indices.numpy().T
        assert np.allclose(by_values, (probe.astype("float64") @ h.T)[rows, columns], atol=1e-5)

    @pytest.mark.parametrize("kernel", [products.small_product, products.large_product])
    def test_any_order_and_repeated_entries(self, kernel):
        import tensorflow as tf

        a, h = matrices(7, 5)
        rows, columns = np.nonzero(a)
        order = np.random.default_rng(0).permutation(len(rows))
        places = np.stack([rows, columns], 1)[order]
        values = tf.constant(a[rows, columns][order])
        twice = tf.SparseTensor(
            np.concatenate([places, places]), tf.concat([values, values], 0), a.shape
        )
        with tf.GradientTape() as tape:
            tape.watch(values)
            single = kernel(tf.SparseTensor(places, values, a.shape), tf.constant(h))
            loss = tf.reduce_sum(single[:, 0])
        assert np.allclose(single, a @ h, atol=1e-5)
        assert np.allclose(tape.gradient(loss, values), h[places[:, 1], 0], atol=1e-6)
        assert np.allclose(kernel(twice, tf.constant(h)), 2 * a @ h, atol=1e-5)

    def test_empty_matrix(self):
        h = keras.ops.ones((5, 3))
        empty = graphs.sparse_tensor(np.zeros((7, 5)))
        for kernel in (products.small_product, products.large_product):
            assert np.array_equal(kernel(empty, h), np.zeros((7, 3)))

    def test_other_values_keep_the_static_shape(self):
        import tensorflow as tf

        shapes = []

        @tf.function(input_signature=[tf.SparseTensorSpec((7, 5), "float32")])
        def double(a):
            doubled = with_values(a, 2 * a.values)
            shapes.append(tuple(doubled.shape))
            return doubled

        a = graphs.sparse_tensor(matrices(7, 5)[0])
        assert np.allclose(double(a).values, 2 * a.values)
        assert shapes == [(7, 5)]

    def test_choice_of_kernel(self, monkeypatch):
        import tensorflow as tf

        chosen = []
        for name in ("small_product", "large_product"):
            monkeypatch.setattr(products, name, lambda a, h, name=name: chosen.append(name))
        rows = products.LARGE // 3 + 1
        cases = [
            ((rows, 5), "float32", "large_product"),
            ((rows - 1, 5), "float32", "small_product"),
            ((None, 5), "float32", "small_product"),
            ((rows, 5), "float16", "small_product"),  # not supported by compressed rows
        ]
        for shape, dtype, expected in cases:

            @tf.function(input_signature=[tf.SparseTensorSpec(shape, dtype)])
            def multiply(a, dtype=dtype):
                products.sparse_product(a, tf.ones((5, 3), dtype))
                return 0

            multiply.get_concrete_function()
            assert chosen.pop() == expected
            assert not chosen
