"""Data outside of the range of a generator's or decoder's last activation is refused."""

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.small import dense


class AnyLayer(keras.layers.Layer):
    """An augmentation that may change the range of values."""


def made(name, last, augment=None):
    if name == "Autoencoder":
        return trainers.Autoencoder(dense(2, inputs=3), last, augment=augment)
    if name == "VQVAE":
        return trainers.VQVAE(dense(2, inputs=3), last, augment=augment)
    if name == "MomentMatching":
        return trainers.MomentMatching(last, 2, augment=augment)
    return trainers.GAN(last, dense(1, inputs=3), 2, augment=augment)


@pytest.mark.parametrize("name", ["Autoencoder", "VQVAE", "MomentMatching", "GAN"])
def test_pixels_are_refused(name):
    part = "generator" if name in ("MomentMatching", "GAN") else "decoder"
    pixels, unit = np.arange(6, dtype="uint8").reshape(2, 3) * 51, np.zeros((2, 3), "float32")
    nested = keras.Sequential([dense(3, inputs=2), keras.layers.Activation("sigmoid")])
    tanh = keras.Sequential([keras.layers.Dense(3, activation="tanh")])  # not built yet
    for last, advice in ((nested, "1 / 255"), (tanh, "1 / 127.5, offset=-1")):
        trainer = made(name, last)
        with pytest.raises(ValueError, match=rf"`{part}` ends in .*\({advice}\).*0 to 255"):
            trainer.check_values(pixels)
        trainer.check_values(unit)
    with pytest.raises(ValueError, match=r"from -1 to -1"):
        made(name, nested).check_values(unit - 1)
    made(name, tanh).check_values(unit - 1)
    made(name, dense(3, inputs=2)).check_values(pixels)  # any number
    made(name, nested, augment=AnyLayer()).check_values(pixels)


def test_outputs_are_compared_with_the_tensors_of_the_data():
    code = keras.Input((2,))
    outputs = {
        "a": keras.layers.Dense(3)(code),
        "b": keras.layers.Dense(3, "sigmoid")(code),
    }
    trainer = trainers.Autoencoder(keras.layers.Dense(2), keras.Model(code, outputs))
    large, small = np.full((2, 3), 9.0), np.ones((2, 3))
    trainer.check_values({"a": large, "b": small})
    with pytest.raises(ValueError, match=r"sigmoid.*from 9 to 9"):
        trainer.check_values({"a": small, "b": large})
