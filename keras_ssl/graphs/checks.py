"""Checks of adjacency matrices, edge lists and features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def check_square(a: Any, name: str = "a") -> None:
    """Check that an adjacency is a square matrix or a batch of them.

    Args:
        a: adjacency with a `shape`, `(n, n)` or `(batch, n, n)`.
        name: name of the argument, for the error message.

    Raises:
        ValueError: if it is not square.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.check_square(np.zeros((3, 4)))
    Traceback (most recent call last):
    ...
    ValueError: `a` must be square, (n, n) or (batch, n, n). Received: a.shape=(3, 4)
    """
    if len(a.shape) not in (2, 3) or a.shape[-1] != a.shape[-2]:
        raise ValueError(
            f"`{name}` must be square, (n, n) or (batch, n, n). Received: "
            f"{name}.shape={tuple(a.shape)}"
        )


def check_symmetric(a: Any, name: str = "a") -> None:
    """Check that an adjacency is that of an undirected graph.

    Args:
        a: NumPy array of shape `(n, n)` or `(batch, n, n)`, or scipy.sparse of shape `(n, n)`; of
            numbers or booleans.
        name: name of the argument, for the error message.

    Raises:
        ValueError: if it is not square, or the weights of an edge and its reverse differ by more
            than 1e-6 of the largest weight.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.check_symmetric(np.array([[0.0, 2.0], [1.0, 0.0]]))
    Traceback (most recent call last):
    ...
    ValueError: `a` must be symmetric: every edge needs its reverse, of the same weight
    (`a.maximum(a.T)` makes a graph undirected). Received: a[0, 1]=2.0 and a[1, 0]=1.0
    """
    import scipy.sparse

    check_square(a, name)
    a = a if scipy.sparse.issparse(a) else np.asarray(a)
    a = a.astype("float32") if a.dtype == bool else a  # booleans have no difference
    if scipy.sparse.issparse(a):
        difference = abs(a - a.T).tocoo()
        worst = difference.data.argmax() if difference.nnz else None
        place = None if worst is None else (difference.row[worst], difference.col[worst])
        largest = abs(a).max() if a.nnz else 0.0
        gap = 0.0 if worst is None else difference.data[worst]
        values = a.tocsr()
    else:
        values = a
        difference = abs(values - np.swapaxes(values, -1, -2))
        largest, gap = (abs(values).max(), difference.max()) if values.size else (0.0, 0.0)
        place = np.unravel_index(difference.argmax(), difference.shape) if values.size else None
    if gap <= 1e-6 * largest:
        return
    *batch, i, j = (int(k) for k in place)
    there, back = ((*batch, i, j), (*batch, j, i))
    raise ValueError(
        f"`{name}` must be symmetric: every edge needs its reverse, of the same weight "
        f"(`{name}.maximum({name}.T)` makes a graph undirected). Received: "
        f"{name}[{', '.join(map(str, there))}]={values[there]} and "
        f"{name}[{', '.join(map(str, back))}]={values[back]}"
    )


def check_finite(values: Any, name: str) -> None:
    """Check that an array contains neither NaN nor infinity.

    Args:
        values: NumPy array, or scipy.sparse, of which the stored values are checked.
        name: name of the argument, for the error message.

    Raises:
        TypeError: if the values are not numbers.
        ValueError: if a number is not finite.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.check_finite(np.array([[0.0, np.nan]]), "x")
    Traceback (most recent call last):
    ...
    ValueError: `x` must hold finite numbers. Received: 1 of 2 are NaN or infinite
    """
    values = np.asarray(values.data if hasattr(values, "nnz") else values)
    try:
        count = values.size - np.isfinite(values).sum()
    except TypeError as error:
        raise TypeError(
            f"`{name}` must hold numbers. Received: values of dtype {values.dtype}"
        ) from error
    if count:
        raise ValueError(
            f"`{name}` must hold finite numbers. Received: {count} of {values.size} are NaN or "
            "infinite"
        )


def check_edge_list(edges: Mapping[str, Any], nodes: int) -> None:
    """Check that an edge list is valid for a number of nodes.

    Args:
        edges: `{"senders": (edges,), "receivers": (edges,), "weights": (edges,)}`; `"weights"` is
            optional.
        nodes: the number of nodes.

    Raises:
        ValueError: if a name is missing or unknown, the arrays differ in length, an index is not an
            integer from 0 to `nodes - 1`, or a weight is not finite.

    Example:

    >>> from keras_ssl import graphs
    >>> graphs.check_edge_list({"senders": [0, 1], "receivers": [1, 3]}, nodes=3)
    Traceback (most recent call last):
    ...
    ValueError: `receivers` must be integers from 0 to 2. Received: values from 1 to 3 of dtype
    int64
    """
    names = {"senders", "receivers"}
    if not isinstance(edges, Mapping) or not names <= set(edges) <= names | {"weights"}:
        received = sorted(edges) if isinstance(edges, Mapping) else type(edges)
        raise ValueError(
            "`edges` must be a dictionary of 'senders', 'receivers' and optionally 'weights'. "
            f"Received: {received}"
        )
    arrays = {name: np.asarray(values) for name, values in edges.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or arrays["senders"].ndim != 1:
        raise ValueError(
            f"`edges` must hold vectors of the same length. Received: vectors of shapes {shapes}"
        )
    for name in sorted(names):
        values = arrays[name]
        if not values.size:
            continue
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= nodes:
            raise ValueError(
                f"`{name}` must be integers from 0 to {nodes - 1}. Received: values from "
                f"{values.min()} to {values.max()} of dtype {values.dtype}"
            )
    weights = arrays.get("weights", np.zeros(0))
    if not np.isfinite(weights).all():
        raise ValueError("`weights` must be finite numbers. Received: NaN or infinite weights")
