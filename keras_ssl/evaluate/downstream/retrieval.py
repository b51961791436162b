"""How well the features of pairs find each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._labels import class_labels, is_labelled
from keras_ssl.evaluate._units import check_widths, unit_features

# similarities that differ by less are equal up to the rounding of float32
_TOLERANCE = 1e-6


def retrieval_metrics(
    first: Any,
    second: Any,
    first_ids: Any = None,
    second_ids: Any = None,
    k: Sequence[int] = (1, 5, 10),
    chunk_size: int = 1024,
) -> dict[str, dict[str, float]]:
    r"""Compute how often the partner of a feature is among the nearest features of the other kind.

    The features of the other kind are ordered by their cosine, and the rank of a query is the place
    of its partner, of several the best one:

    $$r_i = 1 + \#\{j \text{ wrong} : s_{ij} \ge \max_{p \text{ right}} s_{ip}\}, \qquad
    \text{recall at } k = \frac1n \#\{i : r_i \le k\}$$

    Wrong ones that are as similar as the partner come before it, so that features that are all
    equal find nothing. Similarities are equal if they differ by less than 1e-6, the rounding of
    float32. At most `chunk_size` rows of similarities are in memory.

    Args:
        first: features `(n, dimensions)`, such as those of images.
        second: features of the other kind, such as those of their texts, of the same width.
        first_ids: integers or strings `(n,)`: a row of `first` and one of `second` with the same id
            are partners. So an item may have several partners, and equal items, such as a caption
            that two images have, count as right if they have one id. Rows with the integer -1 have
            no partner: nothing is asked of them, but they may be found wrongly. `None` means that
            partners are the rows of the same number.
        second_ids: those of `second`. Give both or none.
        k: numbers of nearest features to look at.
        chunk_size: queries at a time.

    Returns:
        `{"first_to_second": metrics, "second_to_first": metrics}`, queries of `first` among
        `second` and the reverse, with metrics `{"recall_at_1": ..., "median_rank": ...}`. Recalls
        are from 0 to 1, and 1 is the best median rank.

    Raises:
        TypeError: if ids are neither integers nor strings of one kind.
        ValueError: if features are not finite, have a row of zeros or are of two widths, numbers of
            rows and ids differ, a row has no partner, or a number is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> images = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> texts = np.array([[1.0, 0.1], [1.0, 0.9], [0.1, 1.0]])
    >>> result = evaluate.retrieval_metrics(images, texts, k=(1, 2))
    >>> {name: round(value, 3) for name, value in result["first_to_second"].items()}
    {'recall_at_1': 0.333, 'recall_at_2': 0.667, 'median_rank': 2.0}

    Reference:
        [Radford et al., CLIP](https://arxiv.org/abs/2103.00020), section 3.1.4
    """
    k = [checks.integer("k", one, minimum=1) for one in k]
    chunk_size = checks.integer("chunk_size", chunk_size, minimum=1)
    first, second = unit_features(first, "first"), unit_features(second, "second")
    check_widths(first, second, ("first", "second"))
    ids = _ids(first_ids, second_ids, len(first), len(second))
    directions = {
        "first_to_second": (first, second, *ids, ("first", "second")),
        "second_to_first": (second, first, *ids[::-1], ("second", "first")),
    }
    ranks = {name: _ranks(*sides, chunk_size) for name, sides in directions.items()}
    return {
        name: {
            **{f"recall_at_{one}": float(np.mean(rank <= one)) for one in k},
            "median_rank": float(np.median(rank)),
        }
        for name, rank in ranks.items()
    }


def _ids(first_ids: Any, second_ids: Any, first: int, second: int) -> tuple:
    if (first_ids is None) != (second_ids is None):
        given = "first_ids" if second_ids is None else "second_ids"
        raise ValueError(f"Give both `first_ids` and `second_ids`, or none. Received: `{given}`")
    if first_ids is None:
        if first != second:
            raise ValueError(
                "`first` and `second` must have equally many rows, which are partners, unless ids "
                f"say what belongs together. Received: {first} and {second} rows"
            )
        return np.arange(first), np.arange(second)
    ids = class_labels(first_ids, "first_ids"), class_labels(second_ids, "second_ids")
    if (ids[0].dtype.kind == "U") != (ids[1].dtype.kind == "U"):
        raise TypeError(
            "`first_ids` and `second_ids` must both be integers or both strings. "
            f"Received: dtypes {ids[0].dtype} and {ids[1].dtype}"
        )
    if (len(ids[0]), len(ids[1])) != (first, second):
        raise ValueError(
            "`first_ids` and `second_ids` must have one id per row. Received: "
            f"{len(ids[0])} and {len(ids[1])} ids of {first} and {second} rows"
        )
    return ids


def _ranks(
    queries: np.ndarray,
    items: np.ndarray,
    query_ids: np.ndarray,
    item_ids: np.ndarray,
    names: tuple[str, str],
    chunk_size: int,
) -> np.ndarray:
    """Return the rank of the best partner of each query that has an id."""
    asked = is_labelled(query_ids)
    queries, query_ids = queries[asked], query_ids[asked]
    alone = ~np.isin(query_ids, item_ids)
    if alone.any() or not len(query_ids):
        missing = (
            f"{query_ids[alone].tolist()[0]!r}, and {alone.sum() - 1} more"
            if len(alone)
            else "no id"
        )
        raise ValueError(
            f"Every id of `{names[0]}` must occur in `{names[1]}`; rows without a partner may have "
            f"the id -1. Received: {missing}"
        )
    ranks = []
    for start in range(0, len(queries), chunk_size):
        rows = slice(start, start + chunk_size)
        similarities = queries[rows] @ items.T
        right = query_ids[rows, None] == item_ids
        best = np.max(similarities, axis=1, where=right, initial=-np.inf, keepdims=True)
        ahead = (similarities >= best - _TOLERANCE) & ~right
        ranks.append(1 + np.count_nonzero(ahead, axis=1))
    return np.concatenate(ranks)
