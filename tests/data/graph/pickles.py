"""Pickles as written by Python 2, opcode by opcode, since Python 3 does not write them."""

import pickle
import struct

import numpy as np

STOP = b"."
REDUCE, BUILD, NEWOBJ, MARK, TUPLE = b"R", b"b", b"\x81", b"(", b"t"


def plain(value):
    """Numbers, text, lists, tuples and dictionaries."""
    if isinstance(value, dict):
        items = b"".join(plain(part) for item in value.items() for part in item)
        return b"}" + MARK + items + b"u"
    if isinstance(value, list):
        return b"]" + MARK + b"".join(map(plain, value)) + b"e"
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, tuple):
        return MARK + b"".join(map(plain, value)) + TUPLE
    if isinstance(value, str):
        return plain(value.encode())
    return pickle.dumps(value, protocol=2)[2:-1]


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def array(values):
    values = np.ascontiguousarray(values)
    dtype = named("numpy", "dtype") + plain((values.dtype.str[1:], 0, 1)) + REDUCE
    dtype += plain((3, values.dtype.str[0], None, None, None, -1, -1, 0)) + BUILD
    made = named("numpy.core.multiarray", "_reconstruct") + MARK + named("numpy", "ndarray")
    made += plain((0,)) + plain("b") + TUPLE + REDUCE
    state = plain(1) + plain(values.shape) + dtype + plain(False) + plain(values.tobytes())
    return made + MARK + state + TUPLE + BUILD


def csr(matrix):
    state = plain("_shape") + plain(matrix.shape)
    for name in ("data", "indices", "indptr"):
        state += plain(name) + array(getattr(matrix, name))
    made = named("scipy.sparse.csr", "csr_matrix") + plain(()) + NEWOBJ
    return made + b"}" + MARK + state + b"u" + BUILD


def defaultdict(items):
    made = named("collections", "defaultdict") + MARK + named("__builtin__", "list") + TUPLE
    pairs = b"".join(plain(part) for item in items.items() for part in item)
    return made + REDUCE + MARK + pairs + b"u"


def file(content):
    return b"\x80\x02" + content + STOP
