"""A run that stops and goes on from Keras' backup ends where a run that never stopped ends."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, trainers
from tests.trainers.small import encoder

EPOCHS = 3


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def make_trainer(seed):
    keras.utils.set_random_seed(seed)
    trainer = trainers.SimCLR(
        encoder(normalize=True, size=12),
        projector=layers.ProjectionHead((8, 4)),
        augment=augment.SimCLRViews(12),
    )
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=2 * EPOCHS)
    trainer.compile(keras.optimizers.AdamW(schedule))
    return trainer


@pytest.mark.few(1)
@pytest.mark.parametrize("resumed_seed", [1, 0])
def test_resumed_run_equals_whole_run(tmp_path, rng, resumed_seed):
    images = rng.uniform(0, 255, (16, 12, 12, 1)).astype("float32")
    options = {"batch_size": 8, "epochs": EPOCHS, "shuffle": False, "verbose": 0}

    whole = make_trainer(0)
    whole.fit(images, **options)

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        make_trainer(0).fit(images, callbacks=[backup, Stop()], **options)

    # everything comes from the backup, whatever the new process starts with
    resumed = make_trainer(resumed_seed)
    history = resumed.fit(
        images, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")], **options
    )
    assert history.epoch == [2]
    assert resumed.optimizer.iterations.numpy() == 2 * EPOCHS
    for expected, found in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=expected.path)
