"""Read the arrays of a pickle file without running anything that the file names.

A pickle is a program: loading one calls whatever functions it names. Here the few names that the
Planetoid files have stand for classes of this module that only keep what they are given, and any
other name is refused. What was kept is then read as arrays, by their own rules.
"""

from __future__ import annotations

import pickle
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

_DTYPES = ("b1", "i1", "u1", "i2", "i4", "i8", "f4", "f8")


class _Kept:
    """The arguments and the state of an object that is not made."""

    __slots__ = ("arguments", "state")

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _KeptDictionary(dict):
    """A dictionary whose default, which the file names, is not kept."""

    __slots__ = ()

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a dictionary has no state")


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
        super().__init__(file, encoding="latin1")  # written by Python 2
        # new classes each time: a file can set attributes of what it names
        self.stand_ins = {
            (module, name): type(name, (stand_in,), {"__slots__": ()})
            for (module, name), stand_in in _STAND_INS.items()
        }

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in self.stand_ins:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no data needs")
        return self.stand_ins[module, name]


def read_inert(path: str | PathLike[str]) -> Any:
    """Read a pickle of arrays, sparse matrices, dictionaries, lists and numbers.

    Args:
        path: file to read.

    Returns:
        What the file holds: a NumPy array, a `scipy.sparse.csr_array`, or plain Python values.

    Raises:
        ValueError: if the file names any function or class besides these, or cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            return _decode(_InertUnpickler(file).load())
        except Exception as error:  # a broken pickle may raise anything
            raise ValueError(
                f"The file is no pickle of arrays and numbers: {error}. Received: {path}"
            ) from error


def _decode(value: Any) -> Any:
    if not isinstance(value, _Kept):
        return value
    kind = type(value).__name__
    if kind == "_reconstruct":
        return _array(value.state)
    if kind == "csr_matrix":
        return _csr(value.state)
    raise ValueError(f"it holds a {kind} where data should be")


def _array(state: Any) -> np.ndarray:
    _, shape, dtype, is_fortran, data = state
    order = dtype.state[1]
    code = dtype.arguments[0]
    if code not in _DTYPES or order not in "<>|":
        raise ValueError(f"it holds an array of dtype {order}{code}")
    flat = np.frombuffer(data.encode("latin1"), np.dtype(order + code))
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _csr(state: Any) -> Any:
    import scipy.sparse

    parts = tuple(_decode(state[name]) for name in ("data", "indices", "indptr"))
    matrix = scipy.sparse.csr_array(parts, shape=state["_shape"])
    matrix.check_format(full_check=True)
    return matrix
