"""Vectors of words from counts: what learned vectors are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.data.words.word_windows import check_text

if TYPE_CHECKING:
    import scipy.sparse


def cooccurrence_counts(
    ids: Any, lengths: Any, words: int | None = None, window: int = 5
) -> scipy.sparse.csr_array:
    """Count how often words of a text occur at most `window` words apart in a line.

    Args:
        ids: indices of the words of the text, integers `(n,)`.
        lengths: how many of them each line holds. `data.WordVocabulary.encode` returns both.
        words: number of words of the vocabulary. `None` means the largest index plus 1.
        window: the largest distance, at least 1.

    Returns:
        Symmetric sparse matrix `(words, words)` of float64.

    Raises:
        TypeError: if `ids` or `lengths` do not hold integers.
        ValueError: if the text is empty, no line has two words, an index is out of range, or a
            number is not positive.

    Example:

    >>> from keras_ssl import evaluate
    >>> evaluate.cooccurrence_counts([0, 1, 1, 0], [3, 1], window=1).toarray().tolist()
    [[0.0, 1.0], [1.0, 2.0]]
    """
    import scipy.sparse

    ids, lengths = check_text(ids, lengths)
    window = checks.integer("window", window, minimum=1)
    words = checks.integer("words", words, minimum=1, optional=True) or int(ids.max()) + 1
    if ids.max() >= words:
        raise ValueError(
            f"`ids` must be words of the vocabulary, 0 to {words - 1}. Received: {ids.max()}"
        )
    line = np.repeat(np.arange(len(lengths)), lengths)
    counts = scipy.sparse.csr_array((words, words), dtype="float64")
    for distance in range(1, min(window, len(ids) - 1) + 1):
        same = line[:-distance] == line[distance:]
        pairs = (ids[:-distance][same], ids[distance:][same])
        counts = counts + scipy.sparse.coo_array(
            (np.ones(len(pairs[0])), pairs), shape=(words, words)
        )
    return scipy.sparse.csr_array(counts + counts.T)


def cooccurrence_vectors(counts: Any, dim: int = 100, ppmi: bool = True, seed: int = 0) -> Any:
    """Reduce counts of co-occurrence to vectors of words, by a truncated singular decomposition.

    The rows of the matrix M of counts, or of positive pointwise mutual information, say which
    words a word occurs beside. With the largest singular values S of M = U S Vᵀ, the vectors are
    the rows of U √S, so that words with similar neighbours have similar vectors. Nothing is
    learned: this is the baseline for `trainers.Word2Vec`.

        PPMI(v, w) = max(0, log(n(v, w) n / (n(v) n(w))))

    Args:
        counts: sparse symmetric matrix, the result of `evaluate.cooccurrence_counts`.
        dim: width of the vectors, smaller than the number of words.
        ppmi: whether counts become PPMI. Otherwise they become log(1 + n).
        seed: seed of the start of the decomposition.

    Returns:
        float32 array `(words, dim)`.

    Raises:
        TypeError: if `counts` is not a sparse matrix.
        ValueError: if it is not square or has negative entries, or `dim` is out of range.

    Example:

    >>> from keras_ssl import evaluate
    >>> counts = evaluate.cooccurrence_counts([0, 1, 2, 0, 3, 2, 4], [3, 3, 1], window=1)
    >>> z = evaluate.cooccurrence_vectors(counts, dim=2)
    >>> z.shape, bool(abs(z[1] - z[3]).max() < 1e-6)  # 1 and 3 have the same neighbours
    ((5, 2), True)

    Reference:
        - [Levy, Goldberg & Dagan, Improving Distributional Similarity with Lessons Learned from
          Word Embeddings](https://aclanthology.org/Q15-1016)
    """
    import scipy.sparse
    from scipy.sparse.linalg import svds

    if not scipy.sparse.issparse(counts):
        raise TypeError(f"`counts` must be a sparse matrix. Received: {type(counts)}")
    counts = scipy.sparse.coo_array(counts).astype("float64")
    words = counts.shape[0]
    if counts.shape != (words, words) or (counts.data < 0).any():
        raise ValueError(
            "`counts` must be a square matrix without negative entries. "
            f"Received: shape {counts.shape}, smallest entry {counts.data.min(initial=0)}"
        )
    dim = checks.integer("dim", dim, minimum=1)
    if dim >= words:
        raise ValueError(f"`dim` must be smaller than {words}, the words. Received: dim={dim}")
    values = _ppmi(counts) if ppmi else np.log1p(counts.data)
    matrix = scipy.sparse.csr_array((values, counts.coords), shape=counts.shape)
    start = np.random.default_rng(seed).normal(size=words)
    u, s, _ = svds(matrix, k=dim, v0=start)
    return (u * np.sqrt(s))[:, ::-1].astype("float32")


def _ppmi(counts: scipy.sparse.coo_array) -> np.ndarray:
    """Return the positive pointwise mutual information of each entry."""
    rows, columns = counts.coords
    of_row, of_column = counts.sum(axis=1), counts.sum(axis=0)
    expected = of_row[rows] * of_column[columns] / counts.sum()
    return np.log(np.maximum(counts.data / expected, 1.0))
