"""Laplacians compared with SciPy and networkx, eigenvectors with their equation."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import graphs
from keras_ssl.graphs import laplacians


@pytest.fixture
def weighted(rng):
    source = nx.connected_watts_strogatz_graph(40, 4, 0.3, seed=0)
    for u, v in source.edges:
        source.edges[u, v]["weight"] = rng.uniform(0.5, 2)
    return nx.to_scipy_sparse_array(source, weight="weight")


def test_laplacian_equals_scipy(weighted):
    loops = weighted + sp.diags_array(np.arange(40) % 3)
    for a in (weighted, loops):
        expected = sp.csgraph.laplacian(a, normed=True).toarray()
        np.testing.assert_allclose(graphs.laplacian(a).toarray(), expected, atol=1e-12)
        np.testing.assert_allclose(graphs.laplacian(a.toarray()), expected, atol=1e-12)


def test_laplacian_equals_networkx():
    source = nx.karate_club_graph()
    expected = nx.normalized_laplacian_matrix(source).toarray()
    a = graphs.from_networkx(source).a
    np.testing.assert_allclose(graphs.laplacian(a).toarray(), expected, atol=1e-6)


def test_isolated_nodes():
    a = np.zeros((3, 3))
    a[0, 1] = a[1, 0] = 2
    np.testing.assert_allclose(graphs.laplacian(a), [[1, -1, 0], [-1, 1, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_array_equal(graphs.rescaled_laplacian(a)[2], [0, 0, 0])


def test_eigenvalues_of_the_rescaled_laplacian(weighted):
    values = np.linalg.eigvalsh(graphs.rescaled_laplacian(weighted, lambda_max=None).toarray())
    np.testing.assert_allclose(values[[0, -1]], [-1, 1], atol=1e-9)
    two = graphs.rescaled_laplacian(weighted).toarray()
    np.testing.assert_allclose(two, graphs.laplacian(weighted).toarray() - np.eye(40), atol=1e-12)


@pytest.fixture
def by_iteration(monkeypatch):
    """Use iteration, meant for large graphs, for small ones too."""
    monkeypatch.setattr(laplacians, "_DENSE_NODES", 10)


def test_largest_eigenvalue_by_iteration(by_iteration):
    a = nx.to_scipy_sparse_array(nx.random_geometric_graph(60, 0.3, seed=0), dtype=np.float64)
    values = np.linalg.eigvalsh(graphs.rescaled_laplacian(a, lambda_max=None).toarray())
    np.testing.assert_allclose(values[-1], 1, atol=1e-9)


def test_eigenbasis_by_iteration(by_iteration):
    test_eigenbasis(60, 6)


@pytest.mark.parametrize(("n", "count"), [(40, 5), (40, None)])
def test_eigenbasis(n, count):
    a = nx.to_scipy_sparse_array(nx.connected_watts_strogatz_graph(n, 6, 0.3, seed=0))
    values, vectors = graphs.laplacian_eigenbasis(a, count)
    matrix = sp.csgraph.laplacian(a.astype(float), normed=True).toarray()
    count = count or n
    assert values.shape == (count,) and vectors.shape == (n, count)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(count), atol=1e-5)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[:count], atol=1e-5)
    again = graphs.laplacian_eigenbasis(a, count)[1]
    np.testing.assert_array_equal(vectors, again)
    assert (vectors[abs(vectors).argmax(0), np.arange(count)] > 0).all()


def many_parts():
    """Several components, some of them equal, with shuffled nodes."""
    parts = [nx.gnp_random_graph(11, 0.5, seed=k % 4) for k in range(12)]
    a = sp.block_diag([nx.to_scipy_sparse_array(part, dtype=float) for part in parts])
    order = np.random.default_rng(0).permutation(a.shape[0])
    return sp.csr_array(a)[order][:, order]


def joined_cliques():
    """Cliques around one node: connected, with 11 equal eigenvalues."""
    graph = nx.disjoint_union_all([nx.complete_graph(11)] * 12)
    graph.add_edges_from(("hub", 11 * clique) for clique in range(12))
    return nx.to_scipy_sparse_array(graph, dtype=float)


@pytest.mark.parametrize(
    ("a", "count"),
    [
        (many_parts(), 14),
        (joined_cliques(), 14),
        (nx.to_scipy_sparse_array(nx.complete_graph(100)), 10),
        (nx.to_scipy_sparse_array(nx.star_graph(99)), 10),
        (nx.to_scipy_sparse_array(nx.grid_2d_graph(8, 8, periodic=True)), 8),
    ],
    ids=["parts", "cliques", "complete", "star", "torus"],
)
def test_iteration_finds_all_of_several_equal_eigenvalues(by_iteration, a, count):
    values, vectors = graphs.laplacian_eigenbasis(a, count)
    matrix = graphs.laplacian(a).toarray().astype("float64")
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[:count], atol=1e-5)
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(count), atol=1e-5)


def test_bad_arguments(weighted):
    for count in (0, 41, -1, 2.5):
        with pytest.raises(ValueError, match=f"from 1 to the number of nodes, 40.*{count}"):
            graphs.laplacian_eigenbasis(weighted, count)
    with pytest.raises(ValueError, match="`lambda_max` must be a positive"):
        graphs.rescaled_laplacian(weighted, lambda_max=0)
    upper = sp.csr_array(sp.triu(weighted))
    for function in (graphs.laplacian, graphs.rescaled_laplacian, graphs.laplacian_eigenbasis):
        with pytest.raises(ValueError, match="`a` must be symmetric"):
            function(upper)
        with pytest.raises(ValueError, match="`a` must be symmetric"):
            function(upper.toarray())
