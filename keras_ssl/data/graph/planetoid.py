"""Cora, CiteSeer and PubMed from the files of Planetoid, with its public split."""

from __future__ import annotations

import pickle
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from keras_ssl.graphs import Graph, from_edge_list

NAMES = ("cora", "citeseer", "pubmed")

_PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")
_VALIDATION_NODES = 500


def files_of(name: str, folder: Path) -> list[Path]:
    """Return the paths of the files of a dataset, which need not exist."""
    return [folder / f"ind.{name}.{part}" for part in _PARTS]


def read_planetoid(name: str, folder: Path) -> Graph:
    """Read a citation graph from the eight files `ind.<name>.*`.

    Edges go both ways with weight 1; self-loops and duplicates are dropped. 15 nodes of CiteSeer
    are cited but not described: they have features and label 0, and are in no split.
    """
    *pickles, index_file = files_of(name, folder)
    parts = dict(zip(_PARTS, map(read_inert, pickles), strict=False))
    test = np.loadtxt(index_file, dtype=np.int64)
    known = parts["allx"].shape[0]
    n = max(known, int(test.max()) + 1)
    # the node of each row of `allx` and `tx`
    places = np.concatenate([np.arange(known), test])
    splits = {name: np.zeros(n, bool) for name in ("train", "val", "test")}
    train = parts["x"].shape[0]
    splits["train"][:train] = True
    splits["val"][train : train + _VALIDATION_NODES] = True
    splits["test"][test] = True
    y = np.zeros(n, np.int32)
    y[places] = np.concatenate([parts["ally"], parts["ty"]]).argmax(axis=1)
    graph = from_edge_list(_citations(parts["graph"]), n, _placed(parts, places, n), y=y)
    return Graph(graph.x, graph.a.sign(), y=graph.y, splits=splits)


def _placed(parts: dict[str, Any], places: np.ndarray, n: int) -> Any:
    """Return the features of all nodes, in the order of the nodes."""
    import scipy.sparse

    rows = scipy.sparse.vstack([parts["allx"], parts["tx"]]).tocoo()
    return scipy.sparse.coo_array((rows.data, (places[rows.row], rows.col)), (n, rows.shape[1]))


def _citations(neighbors: dict[int, list[int]]) -> dict[str, np.ndarray]:
    """Return the edges in both directions, without self-loops."""
    counts = [len(nodes) for nodes in neighbors.values()]
    senders = np.repeat(np.fromiter(neighbors, np.int64, len(neighbors)), counts)
    receivers = np.concatenate([np.asarray(nodes, np.int64) for nodes in neighbors.values()])
    keep = senders != receivers
    senders, receivers = senders[keep], receivers[keep]
    return {
        "senders": np.concatenate([senders, receivers]),
        "receivers": np.concatenate([receivers, senders]),
    }


_DTYPES = ("b1", "i1", "u1", "i2", "i4", "i8", "f4", "f8")


class _Kept:
    """The arguments and the state of an object that is not created."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _KeptDictionary(dict):
    """A dictionary that ignores the default factory in the file."""

    __slots__ = ()

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a dictionary must not have a state")


_STAND_INS = {
    ("numpy", "ndarray"): _Kept,
    ("numpy", "dtype"): _Kept,
    ("numpy.core.multiarray", "_reconstruct"): _Kept,
    ("scipy.sparse.csr", "csr_matrix"): _Kept,
    ("collections", "defaultdict"): _KeptDictionary,
    ("__builtin__", "list"): _Kept,
}


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")  # files written by Python 2
        # new classes each time, since a file can set attributes of the classes
        self.stand_ins = {
            (module, name): type(name, (stand_in,), {"__slots__": ()})
            for (module, name), stand_in in _STAND_INS.items()
        }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self.stand_ins:
            raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not allowed")
        return self.stand_ins[module, name]


def read_inert(path: str | PathLike[str]) -> Any:
    """Read a pickle of arrays, sparse matrices, dictionaries, lists and numbers safely.

    Unpickling calls any function that a file names. Here the few names in the files of Planetoid
    stand for classes that only keep their arguments, and all other names are refused. The arrays
    are then decoded from the arguments.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            return _decode(_InertUnpickler(file).load())
        except Exception as error:  # a broken pickle may raise anything
            raise ValueError(
                f"The file is not a pickle of arrays and numbers: {error}. Received: {path}"
            ) from error


def _decode(value: Any) -> Any:
    if not isinstance(value, _Kept):
        return value
    kind = type(value).__name__
    if kind == "_reconstruct":
        return _array(value.state)
    if kind == "csr_matrix":
        return _csr(value.state)
    raise ValueError(f"it contains a {kind} instead of data")


def _array(state: Any) -> np.ndarray:
    _, shape, dtype, is_fortran, data = state
    order = dtype.state[1]
    code = dtype.arguments[0]
    if code not in _DTYPES or order not in "<>|":
        raise ValueError(f"it contains an array of dtype {order}{code}")
    flat = np.frombuffer(data.encode("latin1"), np.dtype(order + code))
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _csr(state: Any) -> Any:
    import scipy.sparse

    parts = tuple(_decode(state[name]) for name in ("data", "indices", "indptr"))
    matrix = scipy.sparse.csr_array(parts, shape=state["_shape"])
    matrix.check_format(full_check=True)
    return matrix
