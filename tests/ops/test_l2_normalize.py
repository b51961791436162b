import numpy as np

from keras_ssl.ops import l2_normalize


def test_l2_normalize_of_any_rank(rng):
    for shape in [(3,), (2, 3), (2, 3, 4)]:
        x = rng.normal(size=shape).astype("float32")
        expected = x / np.linalg.norm(x, axis=-1, keepdims=True)
        np.testing.assert_allclose(l2_normalize(x), expected, rtol=1e-6)
