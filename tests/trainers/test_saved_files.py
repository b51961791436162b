"""Files that earlier versions saved still load, compute the same and train on."""

from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ssl import data

FOLDER = Path(__file__).with_name("saved")


@pytest.mark.parametrize("name", ["dino_0_1"])
def test_saved_trainer_loads_computes_the_same_and_trains_on(name):
    images, labels = next(iter(data.load_images("fashion_mnist_mini", "train[:64]").batch(64)))
    images, labels = images.numpy(), labels.numpy()
    trainer = keras.saving.load_model(FOLDER / f"{name}.keras")  # safe mode is the default

    with np.load(FOLDER / f"{name}.npz") as stored:
        features, teacher = stored["features"], stored["teacher"]
    assert np.abs(features - teacher).max() > 1e-4  # the test tells student and teacher apart
    options = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(trainer.predict(images[:8], verbose=0), features, **options)
    found = trainer.teacher_encoder.predict(images[:8], verbose=0)
    np.testing.assert_allclose(found, teacher, **options)

    steps = int(trainer.optimizer.iterations)
    assert steps == 4
    history = trainer.fit(images, labels, batch_size=32, verbose=0).history
    assert int(trainer.optimizer.iterations) == steps + 2
    assert np.isfinite(history["loss"][0]) and "probe_accuracy" in history
