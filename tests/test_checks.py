"""Numbers of constructors: what is taken, as what, and what is refused in which words."""

import numpy as np
import pytest

from keras_ssl import checks


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_integers_become_pythons(value):
    assert type(checks.integer("width", value, 3)) is int


@pytest.mark.parametrize("value", [3.0, np.float32(3), "3", True, None, np.ones(1, "int32")])
def test_what_is_no_integer(value):
    with pytest.raises(TypeError, match=r"`width` must be an integer\. Received: width=.*of type"):
        checks.integer("width", value)


def test_integers_out_of_range():
    message = r"`width` must be a positive integer\. Received: width=0"
    with pytest.raises(ValueError, match=message):
        checks.integer("width", 0, minimum=1)


@pytest.mark.parametrize("value", [0, 0.5, np.float64(0.5), np.int32(0)])
def test_numbers_become_pythons(value):
    for found in (checks.number("rate", value, 0.0, 0.5), checks.below_one("rate", value)):
        assert type(found) is float and found == value


@pytest.mark.parametrize("check", [checks.number, checks.below_one])
@pytest.mark.parametrize("value", ["0.5", True, None, 1j])
def test_what_is_no_number(check, value):
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
def test_one_itself_is_too_much(value):
    with pytest.raises(ValueError, match=r"`rate` must be a number in \[0, 1\)\. Received: rate="):
        checks.below_one("rate", value)
