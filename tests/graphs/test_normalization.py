"""The normalized adjacency compared with its formula in dense float64."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import graphs


def directed(rng, n=11):
    """Weighted and directed, with an isolated node, a sink and some self-loops."""
    a = rng.uniform(0.5, 2, size=(n, n)) * (rng.uniform(size=(n, n)) < 0.3)
    a[np.arange(n), np.arange(n)] = 0
    a[2, 2], a[5, 5] = 0.7, 3.0
    a[3], a[:, 3], a[4] = 0, 0, 0
    return a


def formula(a, self_loops):
    a = a.copy()
    if self_loops:
        for node in range(len(a)):
            a[node, node] = a[node, node] or 1
    degree = a.sum(1)
    expected = np.zeros_like(a)
    for i, j in zip(*np.nonzero(a), strict=True):
        expected[i, j] = a[i, j] / np.sqrt(degree[i] * degree[j]) if degree[j] else 0
    return expected


@pytest.mark.parametrize("self_loops", [True, False])
def test_formula(rng, self_loops):
    a = directed(rng)
    expected = formula(a, self_loops)
    np.testing.assert_allclose(graphs.normalized_adjacency(a, self_loops), expected, atol=1e-12)
    for form in (sp.csr_array, sp.coo_matrix):
        result = graphs.normalized_adjacency(form(a), self_loops)
        assert result.dtype == np.float64 and result.has_sorted_indices
        np.testing.assert_allclose(result.toarray(), expected, atol=1e-12)
    single = graphs.normalized_adjacency(a.astype("float32"), self_loops)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-7)


def test_a_batch_is_normalized_per_graph(rng):
    batch = np.stack([directed(rng), directed(rng)])
    np.testing.assert_array_equal(
        graphs.normalized_adjacency(batch), [graphs.normalized_adjacency(a) for a in batch]
    )


def test_largest_eigenvalue_is_one():
    a = nx.to_scipy_sparse_array(nx.karate_club_graph())
    values = np.linalg.eigvalsh(graphs.normalized_adjacency(a).toarray().astype(np.float64))
    assert values.max() == pytest.approx(1, abs=1e-6) and values.min() > -1


def test_stored_zeros_are_not_self_loops():
    a = sp.coo_array(([0.0, 1.0, 1.0], ([0, 0, 1], [0, 1, 0])), shape=(2, 2))
    np.testing.assert_allclose(graphs.normalized_adjacency(a).toarray(), np.full((2, 2), 0.5))


def test_no_edges():
    np.testing.assert_array_equal(
        graphs.normalized_adjacency(sp.csr_array((3, 3))).toarray(), np.eye(3)
    )
    assert graphs.normalized_adjacency(sp.csr_array((3, 3)), self_loops=False).nnz == 0


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_bad_adjacency(form):
    with pytest.raises(ValueError, match="must not have negative degrees"):
        graphs.normalized_adjacency(form(np.array([[0.0, -2.0], [-2.0, 0.0]])))
    with pytest.raises(ValueError, match="must be square"):
        graphs.normalized_adjacency(form(np.zeros((2, 3))))
    with pytest.raises(ValueError, match="must hold finite"):
        graphs.normalized_adjacency(form(np.array([[0.0, np.nan], [1.0, 0.0]])))


@pytest.mark.parametrize(
    "function", [graphs.normalized_adjacency, graphs.laplacian, graphs.rescaled_laplacian]
)
def test_functions_take_graphs_and_reject_other_objects(function):
    a = nx.to_numpy_array(nx.path_graph(4))
    result = function(graphs.Graph(a=a))
    assert sp.issparse(result)  # since a graph may be large
    np.testing.assert_allclose(result.toarray(), function(a), atol=1e-6)
    for wrong in (np.array([["a"]]), np.array([[1j]]), object()):
        with pytest.raises(TypeError, match="`a` must be"):
            function(wrong)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_row_normalize(rng, form):
    from sklearn.preprocessing import normalize

    x = rng.normal(size=(8, 5)) * (rng.uniform(size=(8, 5)) < 0.4)
    x[3] = 0
    result = graphs.row_normalize(form(x))
    assert sp.issparse(result) == (form is sp.csr_array)
    dense = result.toarray() if sp.issparse(result) else result
    np.testing.assert_allclose(dense, normalize(x, norm="l1"), atol=1e-12)
    with pytest.raises(ValueError, match="`x` must have shape"):
        graphs.row_normalize(np.ones(3))
