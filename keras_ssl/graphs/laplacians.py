"""The normalized Laplacian, and the Fourier basis of its eigenvectors."""

from __future__ import annotations

import contextlib
import numbers
from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.graphs.checks import check_symmetric
from keras_ssl.graphs.forms import as_csr
from keras_ssl.graphs.normalization import in_form_of, normalized_adjacency

# up to this size a dense eigendecomposition is faster than iteration
_DENSE_NODES = 512


def laplacian(a: Any) -> Any:
    r"""Return the symmetric normalized Laplacian.

    $$ L = I - D^{-1/2} A D^{-1/2} $$

    Self-loops are removed first. An isolated node has 1 on the diagonal. Eigenvalues are between 0
    and 2 if weights are positive.

    Args:
        a: scipy.sparse or array of shape `(n, n)`, or a `Graph`; symmetric.

    Returns:
        An array if `a` is one, otherwise `scipy.sparse.csr_array`. Float64 if `a` is, otherwise
        float32.

    Raises:
        TypeError: if `a` does not hold numbers.
        ValueError: if `a` is not a symmetric adjacency, or a degree is negative.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.laplacian(np.array([[0, 1], [1, 0]]))
    array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)

    Reference:
        - [Chung, Spectral Graph Theory, 1997](https://mathweb.ucsd.edu/~fan/research/revised.html)
    """
    import scipy.sparse

    matrix = as_csr(a)
    check_symmetric(matrix)
    identity = scipy.sparse.eye_array(matrix.shape[0], dtype=matrix.dtype, format="csr")
    loops = scipy.sparse.diags_array(matrix.diagonal())
    normalized = normalized_adjacency(scipy.sparse.csr_array(matrix - loops), self_loops=False)
    result = scipy.sparse.csr_array(identity - normalized)
    return in_form_of(a, result)


def rescaled_laplacian(a: Any, lambda_max: float | None = 2.0) -> Any:
    r"""Return the Laplacian rescaled to eigenvalues from -1 to 1, as Chebyshev polynomials need it.

    $$ \tilde L = \frac{2}{\lambda_{max}} L - I $$

    Args:
        a: scipy.sparse or array of shape `(n, n)`, or a `Graph`; symmetric.
        lambda_max: the largest eigenvalue of the normalized Laplacian. 2 is its upper bound;
            `None` computes it.

    Returns:
        The same kind of matrix as `laplacian(a)`.

    Raises:
        ValueError: if `a` is not a symmetric adjacency, or `lambda_max` is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.rescaled_laplacian(np.array([[0, 1], [1, 0]]))
    array([[ 0., -1.],
           [-1.,  0.]], dtype=float32)

    Reference:
        - [Defferrard et al., 2016](https://arxiv.org/abs/1606.09375)
    """
    import scipy.sparse

    if lambda_max is not None:
        lambda_max = checks.positive("lambda_max", lambda_max)
    matrix = scipy.sparse.csr_array(laplacian(a))
    if lambda_max is None:
        lambda_max = _largest_eigenvalue(matrix)
    identity = scipy.sparse.eye_array(matrix.shape[0], dtype=matrix.dtype, format="csr")
    result = scipy.sparse.csr_array((2 / lambda_max) * matrix - identity).astype(matrix.dtype)
    result.eliminate_zeros()
    return in_form_of(a, result)


def laplacian_eigenbasis(a: Any, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of the normalized Laplacian, smallest first.

    The eigenvectors are the Fourier basis of the graph, smooth ones first. The sign of each is
    chosen so that its entry of largest magnitude is positive. Eigenvectors with equal eigenvalues
    are an arbitrary basis of their space.

    Args:
        a: scipy.sparse or array of shape `(n, n)`, or a `Graph`; symmetric.
        count: number of eigenvectors, or `None` for all `n`.

    Returns:
        Eigenvalues of shape `(count,)` and eigenvectors of shape `(n, count)`, float32; columns
        are orthonormal.

    Raises:
        ValueError: if `a` is not a symmetric adjacency, or `count` not an integer from 1 to `n`.

    Example:

    >>> import networkx
    >>> from keras_ssl import graphs
    >>> cycle = networkx.to_scipy_sparse_array(networkx.cycle_graph(6))
    >>> values, vectors = graphs.laplacian_eigenbasis(cycle, count=3)
    >>> vectors.shape
    (6, 3)

    Reference:
        - [Bruna et al., 2013](https://arxiv.org/abs/1312.6203)
    """
    import scipy.sparse

    matrix = scipy.sparse.csr_array(laplacian(as_csr(a).astype(np.float64)))
    n = matrix.shape[0]
    count = n if count is None else count
    if not isinstance(count, numbers.Integral) or not 1 <= count <= n:
        raise ValueError(
            f"`count` must be an integer from 1 to the number of nodes, {n}. Received: "
            f"count={count}"
        )
    values, vectors = _smallest_eigenpairs(matrix, count)
    largest = vectors[abs(vectors).argmax(axis=0), np.arange(count)]
    return values.astype(np.float32), (vectors * np.sign(largest)).astype(np.float32)


def _largest_eigenvalue(matrix: Any) -> float:
    if matrix.shape[0] <= _DENSE_NODES:
        return float(np.linalg.eigvalsh(matrix.toarray().astype(np.float64))[-1])
    return float(_iterated(matrix.astype(np.float64), 1, _start(matrix.shape[0]))[0][0])


def _smallest_eigenpairs(matrix: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest eigenvalues in ascending order, computed per connected component.

    Components share eigenvalues, at least 0, and iteration may miss some of several equal ones.
    """
    import scipy.sparse

    components, component = scipy.sparse.csgraph.connected_components(matrix, directed=False)
    order = np.argsort(component, kind="stable")
    ends = np.cumsum(np.bincount(component, minlength=components))
    matrix = scipy.sparse.csr_array(matrix[order][:, order])
    pairs = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        values, vectors = _of_component(matrix[start:end, start:end], min(count, end - start))
        nodes = order[start:end]
        pairs += [(value, nodes, vectors[:, k]) for k, value in enumerate(values)]
    pairs = sorted(pairs, key=lambda pair: pair[0])[:count]
    basis = np.zeros((matrix.shape[0], count))
    for k, (_, nodes, vector) in enumerate(pairs):
        basis[nodes, k] = vector
    return np.array([value for value, _, _ in pairs]), basis


def _of_component(matrix: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    import scipy.linalg
    import scipy.sparse.linalg

    n = matrix.shape[0]
    if n > _DENSE_NODES and count <= n // 8:
        # iteration is fast for the largest eigenvalues; those of 2 I - L are 2 minus those of L
        mirrored = 2 * scipy.sparse.eye_array(n, format="csr") - matrix
        # it fails if nearly all eigenvalues are equal, as for a complete graph
        with contextlib.suppress(scipy.sparse.linalg.ArpackError):
            values, vectors = _largest_eigenpairs(mirrored, count)
            return 2 - values, vectors
    return scipy.linalg.eigh(matrix.toarray(), subset_by_index=(0, count - 1))


def _largest_eigenpairs(matrix: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of a positive semidefinite matrix, deterministically.

    Iteration may miss some of several equal ones. So it is repeated on the matrix projected on the
    complement of the eigenvectors found, until no larger ones remain.
    """
    import scipy.sparse.linalg

    n = matrix.shape[0]
    values, vectors = _iterated(matrix, count, _start(n))
    while True:
        found = vectors

        def without_found(y: np.ndarray, found: np.ndarray = found) -> np.ndarray:
            y = matrix @ (y - found @ (found.T @ y))
            return y - found @ (found.T @ y)

        rest = scipy.sparse.linalg.LinearOperator((n, n), without_found, dtype=matrix.dtype)
        more, others = _iterated(rest, min(count, 8), without_found(_start(n)))
        is_missed = more > values.min() + 1e-9
        values = np.concatenate([values, more[is_missed]])
        vectors = np.concatenate([vectors, others[:, is_missed]], axis=1)
        best = np.argsort(-values, kind="stable")[:count]
        values, vectors = values[best], vectors[:, best]
        if not is_missed.any():
            return values, vectors


def _iterated(matrix: Any, count: int, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import scipy.sparse.linalg

    return scipy.sparse.linalg.eigsh(matrix, k=count, which="LA", v0=start)


def _start(nodes: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=nodes)
