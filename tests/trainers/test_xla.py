"""What becomes of `jit_compile=True` where XLA cannot compile the step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

if keras.backend.backend() != "tensorflow":
    pytest.skip("trainers need the TensorFlow backend", allow_module_level=True)

from keras_ssl import trainers


def test_one_device_strategy_leaves_xla_alone():
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        trainer = trainers.SimCLR(keras.layers.Flatten(), augment=None)
        trainer.compile("sgd", jit_compile=True)
    assert trainer.jit_compile
    views = np.random.default_rng(0).normal(size=(2, 8, 2, 2, 1)).astype("float32")
    history = trainer.fit(tuple(views), batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_a_trainer_goes_without_xla_under_replicas_and_with_it_outside(two_replicas, tmp_path):
    def compiled():
        trainer = trainers.SimCLR(keras.layers.Flatten(), augment=None)
        trainer.compile("sgd", jit_compile=True)
        return trainer

    def loaded():
        return keras.saving.load_model(tmp_path / "trainer.keras")

    compiled().save(tmp_path / "trainer.keras")
    assert loaded().jit_compile
    for make in (compiled, loaded):
        with two_replicas.scope(), pytest.warns(UserWarning, match="2 replicas"):
            trainer = make()
        assert not trainer.jit_compile
        views = np.random.default_rng(0).normal(size=(2, 8, 2, 2, 1)).astype("float32")
        trainer.fit(tuple(views), batch_size=4, verbose=0)
    # the file keeps what was asked for, for a machine where it is possible
    trainer.save(tmp_path / "trainer.keras")
    assert loaded().jit_compile
