"""Edge lists and sparse tensors, compared with SciPy."""

import keras
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import graphs


@pytest.fixture
def a(rng):
    return sp.random_array((7, 7), density=0.4, rng=rng, dtype=np.float32)


def test_rows_are_receivers(a, rng):
    edges = graphs.edge_list(a)
    x = rng.normal(size=(7, 3))
    received = np.zeros((7, 3))
    np.add.at(received, edges["receivers"], edges["weights"][:, None] * x[edges["senders"]])
    np.testing.assert_allclose(received, a @ x, rtol=1e-5)
    places = edges["receivers"] * 7 + edges["senders"]
    assert (np.diff(places) > 0).all()
    assert {name: values.dtype.name for name, values in edges.items()} == {
        "senders": "int32",
        "receivers": "int32",
        "weights": "float32",
    }


def test_padding(a):
    edges = graphs.edge_list(graphs.Graph(a=a), pad_to=40)
    plain = graphs.edge_list(a)
    for name, values in edges.items():
        assert len(values) == 40
        np.testing.assert_array_equal(values[: a.nnz], plain[name])
        assert not values[a.nnz :].any()
    assert len(graphs.edge_list(a, pad_to=a.nnz)["weights"]) == a.nnz
    with pytest.raises(ValueError, match=f"at least the number of edges, {a.nnz}"):
        graphs.edge_list(a, pad_to=a.nnz - 1)


def test_zeros_are_not_edges():
    a = sp.coo_array(([0.0, 1.0], ([0, 1], [1, 0])), shape=(2, 2))
    assert len(graphs.edge_list(a)["weights"]) == 1
    assert len(graphs.edge_list(np.zeros((3, 3)))["weights"]) == 0


@pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"), reason="Keras has no sparse tensors there"
)
def test_sparse_tensor(a, rng):
    for matrix in (a, a.tocsr(), a.toarray(), graphs.Graph(a=a)):
        tensor = graphs.sparse_tensor(matrix)
        x = rng.normal(size=(7, 3)).astype("float32")
        assert not isinstance(tensor, np.ndarray) and hasattr(tensor, "indices")
        product = keras.ops.convert_to_numpy(keras.ops.matmul(tensor, x))
        np.testing.assert_allclose(product, a @ x, rtol=1e-4, atol=1e-6)
        dense = keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(tensor, sparse=False))
        np.testing.assert_array_equal(dense, a.toarray())
    features = sp.random_array((7, 20), density=0.1, rng=rng)
    assert tuple(graphs.sparse_tensor(features).shape) == (7, 20)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the order of tf.sparse")
def test_indices_are_sorted(a):
    import tensorflow as tf

    tensor = graphs.sparse_tensor(a)
    ordered = tf.sparse.reorder(tensor)
    np.testing.assert_array_equal(tensor.indices, ordered.indices)
    assert tensor.dtype == tf.float32
