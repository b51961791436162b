"""The similarities that a contrastive loss of two views is made of."""

from typing import Any

from keras import ops

from keras_ssl import distribute
from keras_ssl.losses._checks import check_has_negatives
from keras_ssl.ops import l2_normalize, log_sum_exp_of_similarities


def view_similarities(
    z1: Any, z2: Any, temperature: float, chunk_size: int | None = None
) -> tuple[Any, Any]:
    """How similar each view is to its other view, and to all views of other examples.

    With s the cosine similarity, τ the temperature, i one of this replica's 2n embeddings and j
    the other view of its example:

        positives(i) = s(i, j) / τ
        negatives(i) = log Σ_{k ∉ {i, j}} exp(s(i, k) / τ)

    where k runs over both views of all other examples of all replicas.

    Args:
        z1: embeddings of the first views, `(n, dim)`, floating-point. Need not be normalised.
        z2: embeddings of the second views, `(n, dim)`; row i belongs to row i of `z1`.
        temperature: τ, above 0.
        chunk_size: as in `keras_ssl.ops.log_sum_exp_of_similarities`.

    Returns:
        Positives and negatives, both `(2 * n,)`: with the rows of `z1` as anchors, then those of
        `z2`. At least float32. Where a batch of unknown size holds a single example, its
        negatives are so low that their `exp` is 0.

    Raises:
        ValueError: if the batch over all replicas holds a single example.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.contrastive._view_similarities import view_similarities
    >>> z = np.eye(2, dtype="float32")
    >>> positives, negatives = view_similarities(z, z, temperature=0.5)
    >>> [round(float(value), 4) for value in positives]
    [2.0, 2.0, 2.0, 2.0]
    >>> [round(float(np.exp(value)), 4) for value in negatives]
    [2.0, 2.0, 2.0, 2.0]
    """
    z1, z2 = l2_normalize(z1), l2_normalize(z2)
    check_has_negatives(z1)
    anchors = ops.concatenate([z1, z2], axis=0)
    # replica after replica, each with its first views and then its second ones
    candidates = distribute.all_gather(anchors)

    count = ops.shape(anchors)[0]
    rows, first = ops.arange(count, dtype="int32"), distribute.replica_index() * count
    itself, other_view = first + rows, first + (rows + count // 2) % count
    negatives = log_sum_exp_of_similarities(
        anchors / temperature, candidates, ops.stack([itself, other_view], axis=1), chunk_size
    )
    positives = ops.tile(ops.sum(z1 * z2, axis=-1) / temperature, [2])
    return positives, negatives
