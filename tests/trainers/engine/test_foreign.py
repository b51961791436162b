"""A distribution of Keras, which only JAX has, is refused before training."""

import keras
import numpy as np
import pytest

from keras_ssl import distribute, trainers

if keras.backend.backend() != "tensorflow":
    pytest.skip("the TensorFlow backend's engine", allow_module_level=True)


@pytest.fixture
def data_parallel():
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=["cpu:0"]))
    yield
    keras.distribution.set_distribution(None)


def autoencoder():
    parts = [keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]) for _ in range(2)]
    return trainers.Autoencoder(*parts)


def test_a_distribution_is_refused_when_a_trainer_is_made(data_parallel):
    with pytest.raises(ValueError, match=r"distribute\.strategy.*Received: DataParallel"):
        autoencoder()


def test_a_distribution_is_refused_before_training(request):
    trainer = autoencoder()
    trainer.compile("sgd")
    before = trainer.encoder.get_weights()[0]
    request.getfixturevalue("data_parallel")
    for use in (trainer.fit, trainer.evaluate, trainer.train_on_batch):
        with pytest.raises(ValueError, match=r"KERAS_BACKEND=jax.*Received: DataParallel"):
            use(np.ones((4, 2), "float32"))
    np.testing.assert_array_equal(trainer.encoder.get_weights()[0], before)


def test_devices_are_those_of_a_strategy():
    assert distribute.devices("one_device").num_replicas_in_sync == 1
    with pytest.raises(ValueError, match="`name` must be one of"):
        distribute.devices("gpu")
