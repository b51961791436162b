import keras
import numpy as np
import pytest

from keras_ssl import optimizers


def test_follows_the_formula():
    schedule = optimizers.cosine_momentum(0.99, steps=1000, final_momentum=0.999)
    steps = np.array([0, 1, 250, 500, 999, 1000, 2000])
    k = np.minimum(steps, 1000) / 1000
    expected = 0.999 - (0.999 - 0.99) * (1 + np.cos(np.pi * k)) / 2
    np.testing.assert_allclose([float(schedule(s)) for s in steps], expected, rtol=1e-6)


def test_is_a_keras_schedule_that_serialises():
    schedule = optimizers.cosine_momentum(0.996, steps=10)
    config = keras.saving.serialize_keras_object(schedule)
    copy = keras.saving.deserialize_keras_object(config)
    assert float(copy(5)) == float(schedule(5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 10), "`momentum`"),
        ((0.0, 10), "`momentum`"),
        ((0.9, 0), "`steps`"),
        ((0.9, 10, 1.1), "`final_momentum`"),
    ],
)
def test_bad_values_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        optimizers.cosine_momentum(*arguments)


def test_steps_must_be_an_integer():
    with pytest.raises(TypeError, match="`steps` must be a positive integer"):
        optimizers.cosine_momentum(0.9, 2.5)
