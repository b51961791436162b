import numpy as np
import pytest

from keras_ssl.callbacks.collapse_monitor import _Spreads


def spread_of(*batches):
    spreads = _Spreads()
    for batch in batches:
        spreads.add({"some": batch})
    return spreads.numbers()["some_spread"]


def test_square_is_what_lacks_to_the_mean_cosine_similarity(rng):
    x = rng.normal(size=(60, 7)) + 0.5
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = np.sqrt(1 - np.mean(units @ units.T))
    assert spread_of(x.astype("float32")) == pytest.approx(expected, rel=1e-5)
    parts = np.split(x.astype("float32"), [10, 45])  # batches of any size
    assert spread_of(*parts) == pytest.approx(expected, rel=1e-5)


def test_small_spreads_are_not_lost_to_rounding(rng):
    x = np.ones((1000, 64)) + 1e-3 * rng.normal(size=(1000, 64))
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = np.sqrt(units.var(axis=0).sum())
    assert spread_of(x.astype("float32")) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e30])
def test_all_alike_have_no_spread(value):
    assert spread_of(np.full((9, 5), value, "float32")) == pytest.approx(0, abs=1e-6)


def test_lengths_do_not_matter_and_axes_are_flattened(rng):
    x = rng.normal(size=(20, 2, 3)).astype("float32")
    longer = x * rng.uniform(0.1, 10, size=(20, 1, 1)).astype("float32")
    assert spread_of(longer) == pytest.approx(spread_of(x.reshape(20, 6)), rel=1e-5)


def test_names():
    spreads = _Spreads()
    assert spreads.numbers() == {}
    spreads.add({"a": np.eye(2, dtype="float32"), "b": np.ones((2, 2), "float16")})
    assert set(spreads.numbers()) == {"a_spread", "b_spread"}
