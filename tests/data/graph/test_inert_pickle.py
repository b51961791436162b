"""Files of arrays are read, and no function named in a file is ever called."""

import os
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl.data.graph.planetoid import read_inert
from tests.data.graph import pickles


@pytest.fixture
def read(tmp_path):
    def read(content):
        (tmp_path / "file").write_bytes(content)
        return read_inert(tmp_path / "file")

    return read


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<i4", "<i8", "|b1"])
def test_arrays(read, rng, dtype):
    values = rng.integers(0, 2, size=(3, 4)).astype(dtype)
    result = read(pickles.file(pickles.array(values)))
    np.testing.assert_array_equal(result, values)
    assert result.dtype == dtype


def test_sparse_matrices_and_dictionaries(read, rng):
    matrix = sp.random_array((5, 7), density=0.3, rng=rng, format="csr")
    np.testing.assert_array_equal(
        read(pickles.file(pickles.csr(matrix))).toarray(), matrix.toarray()
    )
    neighbors = {0: [1, 2], 1: [0], 2: [0]}
    assert read(pickles.file(pickles.defaultdict(neighbors))) == neighbors


class Malicious:
    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, eval, open, getattr, np.load])
def test_malicious_files_raise(read, tmp_path, function, protocol):
    trace = tmp_path / "trace"
    arguments = {os.system: f"touch {trace}", eval: f"open({str(trace)!r}, 'w')"}
    evil = Malicious(
        function, arguments.get(function, str(trace)), *(["w"] if function is open else [])
    )
    with pytest.raises(ValueError, match="which is not allowed"):
        read(pickle.dumps({0: [evil]}, protocol=protocol))
    assert not trace.exists()


def test_other_names_raise(read):
    for name in (("numpy", "ndarray.__class__"), ("numpy", "load"), ("numpy", "dtype.mro")):
        content = b"\x80\x04" + b"".join(
            b"\x8c" + bytes([len(part)]) + part.encode() for part in name
        )
        with pytest.raises(ValueError, match="which is not allowed"):
            read(content + b"\x93" + pickles.STOP)


def test_a_file_cannot_change_classes_for_later_files(read):
    """A file may set attributes of an allowed class, but not for later files."""
    for state in (pickles.plain({"x": 1}), pickles.plain((None, {"__init__": 3}))):
        for name in (("numpy", "dtype"), ("collections", "defaultdict")):
            with pytest.raises(ValueError, match="not a pickle of arrays"):
                read(pickles.file(pickles.named(*name) + state + pickles.BUILD))
    assert read(pickles.file(pickles.array(np.arange(3)))).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickles.file(pickles.array(np.arange(3)))[:-20],
        pickles.file(pickles.array(np.array([1 + 2j]))),
        pickles.file(pickles.named("numpy", "dtype") + pickles.plain(("O",)) + pickles.REDUCE),
    ],
)
def test_broken_files(read, content):
    with pytest.raises(ValueError, match=r"not a pickle of arrays and numbers.*Received"):
        read(content)


def test_indices_out_of_range(read):
    matrix = sp.csr_array(np.eye(3))
    matrix.indices[1] = 5
    with pytest.raises(ValueError, match="not a pickle of arrays"):
        read(pickles.file(pickles.csr(matrix)))
