import numpy as np
import pytest
from keras import ops

from keras_ssl.ops import balanced_log_assignments


def expected(logits, iterations):
    """The algorithm without logarithms, in float64."""
    q = np.exp(logits.astype("float64"))
    for _ in range(iterations):
        q /= q.sum(axis=0)
        q /= q.sum(axis=1, keepdims=True)
    return q


@pytest.mark.parametrize("rows_of_queue", [0, 3])
def test_equals_the_algorithm_without_logarithms(rows_of_queue, rng):
    logits = rng.normal(scale=3, size=(5 + rows_of_queue, 4)).astype("float32")
    queue = logits[5:] if rows_of_queue else None
    found = ops.convert_to_numpy(balanced_log_assignments(logits[:5], 3, queue))
    np.testing.assert_allclose(np.exp(found), expected(logits, 3)[:5], rtol=1e-5)


def test_probabilities_that_no_float_holds_have_finite_logarithms():
    found = balanced_log_assignments(np.array([[1e4, 0.0], [1e4, 0.0]], "float32"), 3)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(np.exp(found), 0.5, rtol=1e-3)
