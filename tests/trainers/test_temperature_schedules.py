"""Temperatures that follow a schedule, in trainers: the step is the optimizer's."""

import keras
import numpy as np
import pytest

from keras_ssl import layers, losses, trainers
from tests.trainers.small import dense, scaled_images


def cooling():
    return keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.1)


def temperature(step):
    return 0.5 - 0.1 * step


def views():
    x = scaled_images()[:32]
    return x, x[:, ::-1].copy()


def parts():
    keras.utils.set_random_seed(1)
    return dense(16, inputs=784), dense(8, inputs=16)


def make(method=trainers.SimCLR, loss=None, jit_compile=False, **arguments):
    trainer = method(*parts(), loss=loss or losses.NTXent(cooling()), **arguments)
    # only the temperature changes from step to step
    trainer.compile(keras.optimizers.SGD(0.0), jit_compile=jit_compile)
    return trainer


def expected(steps):
    encoder, projector = parts()
    z = [projector(encoder(view)) for view in views()]
    return [float(losses.NTXent(temperature(step))(*z)) for step in steps]


def fit(trainer, epochs=3):
    return trainer.fit(views(), batch_size=32, epochs=epochs, verbose=0).history


@pytest.mark.few(1)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_loss_has_the_temperature_of_each_step(jit_compile):
    trainer = make(jit_compile=jit_compile)
    np.testing.assert_allclose(fit(trainer)["loss"], expected(range(3)), rtol=1e-4)
    # evaluation has that of the steps so far
    value = trainer.evaluate(views(), batch_size=32, verbose=0, return_dict=True)["loss"]
    assert value == pytest.approx(expected([3])[0], rel=1e-4)


def test_micro_batches_have_it_too():
    trainer = make()
    trainer.compile(keras.optimizers.SGD(0.0), micro_batch_size=8)
    np.testing.assert_allclose(fit(trainer)["loss"], expected(range(3)), rtol=1e-4)


def test_replicas_have_it_too(two_replicas):
    with two_replicas.scope():
        trainer = make()
    np.testing.assert_allclose(fit(trainer)["loss"], expected(range(3)), rtol=1e-4)


def test_loaded_trainer_goes_on_with_the_schedule(tmp_path):
    trainer = make()
    fit(trainer, epochs=2)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    np.testing.assert_allclose(fit(loaded, epochs=2)["loss"], expected([2, 3]), rtol=1e-4)


def test_one_loss_in_two_trainers_has_the_step_of_each():
    loss = losses.NTXent(cooling())
    first, second = make(loss=loss), make(loss=loss)
    fit(first)
    np.testing.assert_allclose(fit(second)["loss"], expected(range(3)), rtol=1e-4)


@pytest.mark.full
def test_moco_v3_scales_by_the_temperature_of_the_step():
    def train(temperature, epochs):
        keras.utils.set_random_seed(2)
        trainer = make(trainers.MoCoV3, losses.InfoNCE(temperature), predictor=dense(8, inputs=8))
        return fit(trainer, epochs)["loss"]

    scheduled = train(cooling(), 3)
    for step in range(3):
        assert scheduled[step] == pytest.approx(train(temperature(step), 1)[0], rel=1e-4)


def with_index():
    return {"image": views()[0], "index": np.arange(32)}


def instance_discrimination(temperature):
    bank = layers.MemoryBank(32, momentum=1.0 - 1e-7, seed=0)
    encoder, projector = parts()
    return trainers.InstanceDiscrimination(
        encoder, bank, projector, temperature=temperature, noise_samples=None
    )


def test_instance_discrimination_takes_a_schedule(tmp_path):
    trainer = instance_discrimination(cooling())
    trainer.compile(keras.optimizers.SGD(0.0))
    trainer.fit(with_index(), batch_size=32, epochs=2, verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    found = loaded.evaluate(with_index(), batch_size=32, verbose=0, return_dict=True)["loss"]
    constant = instance_discrimination(temperature(2))
    constant.compile(keras.optimizers.SGD(0.0))
    constant.build_step(
        {"image": keras.KerasTensor((32, 784)), "index": keras.KerasTensor((32,), "int32")}, None
    )
    constant.set_weights(trainer.get_weights())
    expected = constant.evaluate(with_index(), batch_size=32, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.full
def test_deep_cluster_takes_a_schedule():
    def make(temperature):
        encoder, projector = parts()
        return trainers.DeepClusterV2(
            encoder,
            layers.MemoryBank(32, momentum=0.0, seed=0),
            projector,
            prototypes=4,
            temperature=temperature,
            seed=0,
        )

    data = {"image": views(), "index": np.arange(32)}
    results = []
    for value in (cooling(), temperature(2)):
        trainer = make(value)
        trainer.compile(keras.optimizers.SGD(0.0))
        trainer.fit(data, batch_size=32, epochs=2, shuffle=False, verbose=0)
        results.append(trainer.evaluate(data, batch_size=32, verbose=0, return_dict=True)["loss"])
    assert results[0] == pytest.approx(results[1], rel=1e-4)
    config = keras.saving.serialize_keras_object(make(cooling()))
    loaded = keras.saving.deserialize_keras_object(config)
    assert loaded.get_config()["temperature"] == make(cooling()).get_config()["temperature"]
