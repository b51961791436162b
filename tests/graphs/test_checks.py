"""Checks of adjacency matrices and features."""

import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import graphs


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array, sp.coo_matrix])
def test_the_error_names_an_asymmetric_edge(form):
    a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 4.0], [0.0, 2.0, 0.0]])
    with pytest.raises(ValueError, match=r"a\[1, 2\]=4.0 and a\[2, 1\]=2.0"):
        graphs.check_symmetric(form(a))
    graphs.check_symmetric(form(a + a.T))
    graphs.check_symmetric(form(np.zeros((3, 3))))


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_booleans_are_checked(form):
    a = np.array([[False, True], [True, False]])
    graphs.check_symmetric(form(a))
    with pytest.raises(ValueError, match="must be symmetric"):
        graphs.check_symmetric(form(np.triu(a)))


def test_asymmetry_in_a_batch():
    batch = np.zeros((2, 3, 3))
    graphs.check_symmetric(batch)
    batch[1, 0, 2] = 1
    with pytest.raises(ValueError, match=r"a\[1, 0, 2\]=1.0 and a\[1, 2, 0\]=0.0"):
        graphs.check_symmetric(batch)


def test_rounding_errors_are_tolerated(rng):
    a = rng.uniform(size=(5, 5)).astype("float32")
    a = a + a.T
    a[0, 1] = np.nextafter(a[0, 1], 9, dtype=np.float32)
    graphs.check_symmetric(a)
