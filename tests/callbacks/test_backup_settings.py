"""Runs that are resumed with other settings than those with which they were started."""

import warnings

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from keras_ssl.callbacks import BackupAndResume
from tests.callbacks.interrupted import InterruptAt

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class Scaled(trainers.SelfSupervisedModel):
    """The loss is w, so that its gradient is 1 and a step of SGD is the learning rate."""

    def __init__(self, encoder=None, temperature=0.1, **kwargs):
        encoder = encoder or keras.layers.Dense(1, kernel_initializer="zeros", use_bias=False)
        super().__init__(encoder, **kwargs)
        self.temperature = temperature
        self.teacher = trainers.EMATeacher(self, ["encoder"], 0.5)

    def embed(self, batch, training):
        return {"w": self.encoder(keras.ops.ones_like(batch.x) / 3.0)}

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


def fit(trainer, folder, interrupted=False, epochs=2, optimizer=None, probe=None, **options):
    """Six steps per epoch; interrupted after two of the second epoch."""
    compiled = {key: options.pop(key) for key in ("loss_weights",) if key in options}
    compiled["jit_compile"] = False
    trainer.compile(optimizer or keras.optimizers.SGD(0.1), probe=probe, **compiled)
    backup = BackupAndResume(folder, every_steps=1, **options)
    callbacks = [backup, *([InterruptAt(1, 1)] if interrupted else [])]
    y = None if probe is None else np.arange(24) % 2
    trainer.fit(X, y, batch_size=4, epochs=epochs, callbacks=callbacks, verbose=0)
    return trainer


def interrupt(folder, **settings):
    with pytest.raises(KeyboardInterrupt):
        fit(Scaled(), folder, interrupted=True, **settings)


def weight(trainer):
    return float(np.mean(np.asarray(trainer.encoder.kernel)))


def messages(records):
    return [str(one.message) for one in records if "was started" in str(one.message)]


def test_a_changed_learning_rate_warns_with_both_values_and_the_backups_is_used(tmp_path):
    interrupt(tmp_path)
    with pytest.warns(UserWarning, match=r"0\.1 in the backup, 0\.02 now"):
        resumed = fit(Scaled(), tmp_path, optimizer=keras.optimizers.SGD(0.02))
    assert weight(resumed) == pytest.approx(-12 * 0.1 / 3, rel=1e-5)  # as without interruption
    assert float(resumed.optimizer.learning_rate) == pytest.approx(0.1)


@pytest.mark.full
def test_the_same_settings_do_not_warn(tmp_path):
    decay = keras.optimizers.schedules.CosineDecay(0.1, 100)
    for number, make in enumerate(
        (
            lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.01),
            lambda: keras.optimizers.SGD(decay, momentum=0.9),
            lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
        )
    ):
        folder = tmp_path / str(number)
        probes = [trainers.OnlineProbe(2) for _ in range(2)]
        interrupt(folder, optimizer=make(), probe=probes[0])
        with warnings.catch_warnings(record=True) as records:
            warnings.simplefilter("always")
            fit(Scaled(), folder, optimizer=make(), probe=probes[1])
        assert not messages(records)


def test_a_resumed_run_that_is_resumed_again_is_compared_with_the_first(tmp_path):
    interrupt(tmp_path)
    with pytest.warns(UserWarning, match="in the backup"), pytest.raises(KeyboardInterrupt):
        trainer = Scaled()
        trainer.compile(keras.optimizers.SGD(0.02), jit_compile=False)
        callbacks = [BackupAndResume(tmp_path, every_steps=1), InterruptAt(1, 3)]
        trainer.fit(X, batch_size=4, epochs=2, callbacks=callbacks, verbose=0)
    with pytest.warns(UserWarning, match=r"0\.1 in the backup, 0\.02 now"):
        fit(Scaled(), tmp_path, optimizer=keras.optimizers.SGD(0.02))


def test_a_rate_that_a_callback_has_changed_is_no_change_of_settings(tmp_path):
    def run(interrupted):
        trainer = Scaled()
        trainer.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        callbacks = [BackupAndResume(tmp_path, every_steps=1), halve]
        callbacks += [InterruptAt(1, 1)] if interrupted else []
        trainer.fit(X, batch_size=4, epochs=3, callbacks=callbacks, verbose=0)
        return trainer

    with pytest.raises(KeyboardInterrupt):
        run(True)
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        resumed = run(False)
    assert not messages(records)
    assert weight(resumed) == pytest.approx(-6 * (0.05 + 0.025 + 0.0125) / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (
            {"optimizer": lambda: keras.optimizers.SGD(schedule(100))},
            {"optimizer": lambda: keras.optimizers.SGD(schedule(200))},
            r"learning_rate.*decay_steps=100.* in the backup, .*decay_steps=200.* now",
        ),
        (
            {"optimizer": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.01)},
            {"optimizer": lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1, beta_2=0.9)},
            r"`weight_decay`.*0\.01 in the backup, 0\.1 now.*`beta_2`.*0\.999 in .*, 0\.9 now",
        ),
        (
            {"optimizer": lambda: keras.optimizers.SGD(0.1, momentum=0.5)},
            {"optimizer": lambda: keras.optimizers.SGD(0.1, momentum=0.9)},
            r"`momentum` .*0\.5 in the backup, 0\.9 now",
        ),
        (
            {"probe": lambda: trainers.OnlineProbe(2, keras.optimizers.SGD(0.1))},
            {"probe": lambda: trainers.OnlineProbe(2, keras.optimizers.SGD(0.2))},
            r"`learning_rate` \(probe's optimizer\): 0\.1 in the backup, 0\.2 now",
        ),
        (
            {},
            {"loss_weights": lambda: {"w": 2.0}},
            r"`loss_weights` \(compile\): None in the backup, \{'w': 2\.0\} now",
        ),
    ],
    ids=["schedule", "weight decay", "momentum", "probe", "loss weights"],
)
def test_other_settings_warn_with_both_values(tmp_path, before, now, message):
    interrupt(tmp_path, **{key: make() for key, make in before.items()})
    with pytest.warns(UserWarning, match=message):
        fit(Scaled(), tmp_path, **{key: make() for key, make in now.items()})


def schedule(steps):
    return keras.optimizers.schedules.CosineDecay(0.1, steps)


def test_a_setting_of_the_trainer_warns_and_counts(tmp_path):
    interrupt(tmp_path)
    with pytest.warns(UserWarning, match=r"`temperature` \(Scaled\): 0\.1 in the backup, 0\.5 now"):
        assert fit(Scaled(temperature=0.5), tmp_path).temperature == 0.5


def test_without_the_backups_optimizer_the_new_rate_counts(tmp_path):
    interrupt(tmp_path)
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        optimizer = keras.optimizers.SGD(0.02)
        resumed = fit(Scaled(), tmp_path, optimizer=optimizer, restore_optimizer=False)
    assert not messages(records)
    # seven steps before the last backup, five after it
    assert weight(resumed) == pytest.approx(-(7 * 0.1 + 5 * 0.02) / 3, rel=1e-5)
    assert int(resumed.optimizer.iterations) == 5
    # the teacher has followed each of the steps
    theta, xi = 0.0, 0.0
    for rate in 7 * [0.1] + 5 * [0.02]:
        theta -= rate / 3
        xi = 0.5 * xi + 0.5 * theta
    teacher = float(np.mean(np.asarray(resumed.teacher_encoder.kernel)))
    assert teacher == pytest.approx(xi, rel=1e-5)


def test_another_optimizer_or_a_schedule_in_place_of_a_rate_needs_the_argument(tmp_path):
    for number, make in enumerate(
        (lambda: keras.optimizers.Adam(0.02), lambda: keras.optimizers.SGD(schedule(100)))
    ):
        folder = tmp_path / str(number)
        interrupt(folder, probe=trainers.OnlineProbe(2))
        with pytest.raises(ValueError, match="restore_optimizer=False"):
            fit(Scaled(), folder, optimizer=make(), probe=trainers.OnlineProbe(2))
        resumed = fit(
            Scaled(),
            folder,
            optimizer=make(),
            probe=trainers.OnlineProbe(2, keras.optimizers.SGD(0.1)),
            restore_optimizer=False,
        )
        assert int(resumed.optimizer.iterations) == 5
        assert np.all(np.isfinite(weight(resumed)))
