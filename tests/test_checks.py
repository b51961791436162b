"""Checks of scalar arguments: accepted values, returned types and error messages."""

import keras
import numpy as np
import pytest

from keras_ssl import checks


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_are_returned_as_python_ints(value):
    assert type(checks.integer("width", value, 3)) is int


@pytest.mark.parametrize("value", [3.0, np.float32(3), "3", True, None, np.ones(1, "int32")])
def test_integers_of_a_wrong_type(value):
    with pytest.raises(TypeError, match=r"`width` must be an integer\. Received: width=.*of type"):
        checks.integer("width", value)


def test_integers_out_of_range():
    message = r"`width` must be a positive integer\. Received: width=0"
    with pytest.raises(ValueError, match=message):
        checks.integer("width", 0, minimum=1)


@pytest.mark.parametrize("value", [0, 0.5, np.float64(0.5), np.int32(0)])
def test_numbers_are_returned_as_python_floats(value):
    for found in (checks.number("rate", value, 0.0, 0.5), checks.below_one("rate", value)):
        assert type(found) is float and found == value


@pytest.mark.parametrize("check", [checks.number, checks.below_one])
@pytest.mark.parametrize("value", ["0.5", True, None, 1j])
def test_numbers_of_a_wrong_type(check, value):
    with pytest.raises(TypeError, match=r"`rate` must be a number.*Received: rate="):
        check("rate", value)


@pytest.mark.parametrize(
    ("limits", "wanted", "values"),
    [
        ((), "a number", (float("nan"), float("inf"), -float("inf"))),
        ((0.0,), "a number of at least 0", (-1e-9, float("nan"))),
        ((0.0, 0.5), "a number from 0 to 0.5", (0.6, -0.1, float("nan"))),
    ],
)
def test_numbers_out_of_range(limits, wanted, values):
    for value in values:
        with pytest.raises(ValueError, match=f"`rate` must be {wanted}. Received: rate={value}"):
            checks.number("rate", value, *limits)


@pytest.mark.parametrize("value", [1, 1.0, -0.1, float("nan"), float("inf")])
def test_below_one_excludes_one(value):
    with pytest.raises(ValueError, match=r"`rate` must be a number in \[0, 1\)\. Received: rate="):
        checks.below_one("rate", value)


def test_optional_integers():
    assert checks.integer("seed", None, optional=True) is None
    assert checks.integer("seed", 3, optional=True) == 3
    with pytest.raises(TypeError, match=r"`seed` must be an integer\. Received: seed=None"):
        checks.integer("seed", None)
    with pytest.raises(ValueError, match="`seed` must be an integer of at least 0 or None"):
        checks.integer("seed", -1, minimum=0, optional=True)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 2])
def test_positive(value):
    assert checks.positive("scale", np.float32(0.5), maximum=1) == 0.5
    with pytest.raises(ValueError, match="`scale` must be a positive number of at most 1"):
        checks.positive("scale", value, maximum=1)


@pytest.mark.parametrize("value", [0, 1, -0.5])
def test_below_one_may_exclude_zero(value):
    assert checks.below_one("momentum", 0.5, positive=True) == 0.5
    with pytest.raises(ValueError, match=r"`momentum` must be a number in \(0, 1\)"):
        checks.below_one("momentum", value, positive=True)


def test_temperature():
    assert checks.temperature("temperature", 1) == 1.0
    half = checks.temperature("temperature", keras.Variable(0.5, dtype="float16"))
    assert keras.backend.standardize_dtype(half.dtype) == "float32"
    for value, error in ((0, ValueError), ("warm", TypeError), (keras.ops.ones(2), ValueError)):
        with pytest.raises(error, match="`temperature` must be"):
            checks.temperature("temperature", value)


def test_momentum_is_a_number_or_a_schedule():
    schedule = keras.optimizers.schedules.CosineDecay(0.9, 10)
    assert checks.momentum("momentum", schedule) is schedule
    assert checks.momentum("momentum", 0) == 0.0
    for value, error in ((1.0, ValueError), ("0.9", TypeError)):
        with pytest.raises(error, match=r"`momentum` must be a number in \[0, 1\) or a schedule"):
            checks.momentum("momentum", value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0.5, ValueError),
        ((0.5,), ValueError),
        ((1.0, 0.5), ValueError),
        ((0.0, 0.5), ValueError),
        ((0.5, 1.5), ValueError),
        ((0.5, float("nan")), ValueError),
        ((0.5, "1"), TypeError),
        ((True, 1.0), TypeError),
    ],
)
def test_interval(value, error):
    assert checks.interval("scale", [0.5, 1], maximum=1, positive=True) == (0.5, 1.0)
    with pytest.raises(error, match=r"`scale` must be two numbers.*low > 0 and high <= 1"):
        checks.interval("scale", value, maximum=1, positive=True)


def test_interval_of_distinct_numbers():
    assert checks.interval("scale", (1, 1)) == (1.0, 1.0)
    with pytest.raises(ValueError, match="with low < high"):
        checks.interval("scale", (1, 1), distinct=True)


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), ((8, 0), ValueError), ((8, 8, 8), ValueError), (8.0, TypeError)],
)
def test_image_size(value, error):
    assert checks.image_size("size", (np.int64(8), 6)) == (8, 6)
    with pytest.raises(error, match="`size` must be a positive integer or a pair of them"):
        checks.image_size("size", value)
