"""A temperature may be a schedule in every loss that has one."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from keras_ssl.ops.schedules import at_step

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"


def cooling():
    return keras.optimizers.schedules.PolynomialDecay(0.5, 100, 0.1)


def temperature(step):
    """The schedule in closed form."""
    return 0.5 - 0.4 * step / 100


def two(rng):
    return rng.normal(size=(2, 6, 5)).astype("float32")


def scores(rng):
    return [list(rng.normal(size=(2, 6, 5)).astype("float32")) for _ in range(2)]


LOSSES = {
    "NTXent": ("temperature", two),
    "DCL": ("temperature", two),
    "DCLW": ("temperature", two),
    "InfoNCE": ("temperature", two),
    "CLIPLoss": ("temperature", two),
    "SigLIPLoss": ("temperature", two),
    "SupConLoss": ("temperature", lambda rng: (np.array([0, 0, 1, 1, 2, -1]), two(rng)[0])),
    "CPCLoss": (
        "temperature",
        lambda rng: (
            rng.normal(size=(4, 2, 5)).astype("float32"),
            rng.normal(size=(4, 3, 5)).astype("float32"),
        ),
    ),
    "MSNLoss": ("temperature", lambda rng: (scores(rng)[0][0], scores(rng)[1])),
    "PMSNLoss": ("temperature", lambda rng: (scores(rng)[0][0], scores(rng)[1])),
    "SwAVLoss": ("temperature", lambda rng: scores(rng)[:1]),
    "TokenDistillation": ("teacher_temperature", lambda rng: rng.normal(size=(2, 6, 3, 5))),
    "TokenDistillation of the student": (
        "student_temperature",
        lambda rng: rng.normal(size=(2, 6, 3, 5)),
    ),
    "CAPILoss": ("student_temperature", lambda rng: rng.uniform(size=(2, 6, 3, 5))),
    "DINOLoss": ("teacher_temperature", scores),
    "DINOLoss of the student": ("student_temperature", scores),
}


def make(name, value, **settings):
    argument, data = LOSSES[name]
    return getattr(losses, name.split()[0])(**{argument: value}, **settings), data


def test_every_loss_with_a_temperature_is_tested():
    with_temperature = {
        name
        for name in losses.__all__
        if any("temperature" in key for key in _config_of(getattr(losses, name)))
    }
    assert with_temperature == {name.split()[0] for name in LOSSES}


def _config_of(loss):
    try:
        return loss().get_config()
    except (AttributeError, TypeError):
        return {}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("step", [0, 30])
def test_value_is_that_of_the_step(name, step, rng):
    scheduled, data = make(name, cooling(), reduction=None)
    constant, _ = make(name, temperature(step), reduction=None)
    data = data(rng)
    with at_step(lambda: ops.convert_to_tensor(step)):
        found = ops.convert_to_numpy(scheduled(*data))
    np.testing.assert_allclose(found, ops.convert_to_numpy(constant(*data)), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_schedule_is_saved(name, rng):
    loss, data = make(name, cooling())
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
    data = data(rng)
    with at_step(lambda: 70):
        np.testing.assert_allclose(again(*data), loss(*data))


@pytest.mark.parametrize("name", LOSSES)
def test_says_why_there_is_no_step(name, rng):
    loss, data = make(name, cooling())
    with pytest.raises(ValueError, match=r"is a schedule.*loss\.follow\(optimizer\)"):
        loss(*data(rng))


@keras.saving.register_keras_serializable(package="tests")
class Warming:
    """A schedule that is no subclass of Keras'."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return 0.1 + self.rate * ops.cast(step, "float32")

    def get_config(self):
        return {"rate": self.rate}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_an_object_with_the_interface_of_a_schedule_is_one(rng):
    loss = losses.NTXent(Warming(0.01), reduction=None)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    z = two(rng)
    with at_step(lambda: 20):
        for one in (loss, again):
            expected = losses.NTXent(0.3, reduction=None)(*z)
            np.testing.assert_allclose(one(*z), expected, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("name", LOSSES)
def test_temperature_is_checked(name, value):
    with pytest.raises(ValueError, match="must be a positive number or a schedule"):
        make(name, value)


@pytest.mark.parametrize("dtype", ["float64", "float32"] if IS_TENSORFLOW else ["float32"])
def test_dtype_of_the_loss_is_kept(dtype, rng):
    loss = losses.NTXent(cooling(), dtype=dtype)
    z = two(rng).astype(dtype)
    with at_step(lambda: 30):
        value = loss(*z)
    assert keras.backend.standardize_dtype(value.dtype) == dtype
    rtol = 1e-6 if dtype == "float64" else 1e-5
    expected = losses.NTXent(float(np.float32(temperature(30))), dtype=dtype)(*z)
    np.testing.assert_allclose(value, expected, rtol=rtol)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="Keras shows a loss no step elsewhere")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_compile_of_a_plain_keras_model(jit_compile, rng):
    x, y = rng.normal(size=(8, 4)).astype("float32"), np.arange(8) % 2
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    optimizer = keras.optimizers.SGD(0.0)  # only the temperature changes
    loss = losses.SupConLoss(keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.1))
    model.compile(optimizer, loss.follow(optimizer), jit_compile=jit_compile)
    found = model.fit(x, y, batch_size=8, epochs=4, verbose=0).history["loss"]
    z = model(x)
    expected = [float(losses.SupConLoss(0.5 - 0.1 * step)(y, z)) for step in range(4)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.skipif(IS_TENSORFLOW, reason="works with TensorFlow")
def test_follow_says_what_it_needs():
    with pytest.raises(ValueError, match="TensorFlow backend only"):
        losses.NTXent(cooling()).follow(keras.optimizers.SGD())


def test_only_an_optimizer_can_be_followed():
    with pytest.raises(TypeError, match="Keras optimizer"):
        losses.NTXent(cooling()).follow(3)
