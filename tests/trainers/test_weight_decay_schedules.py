"""Weight decay that follows a schedule: the gradient is 0, so that the weights only decay."""

import re

import keras
import numpy as np
import pytest

from keras_ssl import callbacks, optimizers, trainers
from keras_ssl.callbacks._backup_settings import changed_settings, read_settings
from tests.callbacks.interrupted import InterruptAt
from tests.trainers.cases import CASES

X = np.ones((8, 3), "float32")
RATE = 0.1


def rising():
    # DINO's, from 0.04 to 0.4
    return keras.optimizers.schedules.CosineDecay(0.04, 5, alpha=10)


def weights_after(steps, factor=1.0):
    """The float64 formula of decoupled decay under DINO's `cosine_scheduler`."""
    k = np.minimum(np.arange(steps), 5) / 5
    decay = 0.4 + (0.04 - 0.4) * (1 + np.cos(np.pi * k)) / 2
    return np.prod(1 - factor * RATE * decay)


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class Still(trainers.SelfSupervisedModel):
    def __init__(self, encoder=None, **kwargs):
        ones = {"kernel_initializer": "ones", "bias_initializer": "ones"}
        super().__init__(encoder or keras.layers.Dense(2, **ones), **kwargs)

    def embed(self, batch, training):
        return {"nothing": 0.0 * self.encoder(batch.x)}


def make(optimizer=None, **arguments):
    trainer = Still()
    optimizer = optimizer or keras.optimizers.SGD(RATE)
    trainer.compile(optimizer, **{"weight_decay": rising(), "jit_compile": False, **arguments})
    return trainer


def fit(trainer, steps, **arguments):
    x = np.repeat(X, steps, axis=0)
    trainer.fit(x, batch_size=8, shuffle=False, verbose=0, **arguments)
    return [float(np.mean(np.asarray(one))) for one in trainer.encoder.trainable_weights]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"jit_compile": True},
        {"steps_per_execution": 3},
        {"run_eagerly": True},
        {"micro_batch_size": 4},
        {"optimizer": keras.optimizers.AdamW(RATE, weight_decay=0.3)},
    ],
    ids=["plain", "XLA", "several steps", "eager", "micro-batches", "AdamW"],
)
def test_each_step_decays_by_the_value_of_the_schedule(arguments):
    trainer = make(**arguments)
    constant = trainer.optimizer.weight_decay
    np.testing.assert_allclose(fit(trainer, 6), weights_after(6), rtol=1e-5)
    assert trainer.optimizer.weight_decay == constant


def test_excluded_variables_do_not_decay_and_multipliers_scale_the_decay():
    trainer = make(
        exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
        learning_rate_multipliers={"kernel": 0.25},
    )
    kernel, bias = fit(trainer, 4)
    assert kernel == pytest.approx(weights_after(4, factor=0.25), rel=1e-5)
    assert bias == 1.0


def test_accumulated_gradients_decay_once():
    trainer = make(keras.optimizers.SGD(RATE, gradient_accumulation_steps=2))
    np.testing.assert_allclose(fit(trainer, 6), weights_after(3), rtol=1e-5)


def test_scaled_loss_of_float16():
    encoder = keras.layers.Dense(2, kernel_initializer="ones", dtype="mixed_float16")
    trainer = Still(encoder, dtype="mixed_float16")
    trainer.compile(keras.optimizers.SGD(RATE), weight_decay=rising(), jit_compile=False)
    assert hasattr(trainer.optimizer, "inner_optimizer")
    kernel, _ = fit(trainer, 3)
    assert kernel == pytest.approx(weights_after(3), rel=1e-5)


def test_replicas(two_replicas):
    with two_replicas.scope():
        trainer = make(keras.optimizers.SGD(RATE, weight_decay=0.3))
    np.testing.assert_allclose(fit(trainer, 6), weights_after(6), rtol=1e-5)
    assert trainer.optimizer.weight_decay == 0.3


def test_loaded_trainer_goes_on_with_the_schedule(tmp_path):
    trainer = make()
    fit(trainer, 2)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    np.testing.assert_allclose(fit(loaded, 3), weights_after(5), rtol=1e-5)


def test_interrupted_run_goes_on_with_the_schedule(tmp_path):
    backup = callbacks.BackupAndResume(tmp_path, every_steps=1)
    with pytest.raises(KeyboardInterrupt):
        fit(make(), 6, callbacks=[backup, InterruptAt(0, 2)])
    found = fit(make(), 6, callbacks=[callbacks.BackupAndResume(tmp_path, every_steps=1)])
    np.testing.assert_allclose(found, weights_after(6), rtol=1e-5)


def test_a_resumed_run_warns_of_another_schedule():
    before, now = (
        read_settings(make(weight_decay=keras.optimizers.schedules.CosineDecay(0.04, 5, alpha=end)))
        for end in (10, 5)
    )
    _, counting = changed_settings(before, now, {})
    assert len(counting) == 1
    assert re.search(r"`weight_decay`.*alpha=10.* in the backup, .*alpha=5.* now", counting[0])


def test_all_optimizers_of_a_method_follow_it():
    """Under a schedule that is constant, a GAN learns as with the constants of its optimizers."""
    case = CASES["GAN"]
    constant = keras.optimizers.schedules.PolynomialDecay(0.5, 9, 0.5)
    results = []
    for decay, schedule in ((0.5, None), (0.1, constant)):
        keras.utils.set_random_seed(1)
        trainer = case.make()
        names = trainer.optimizer_names
        by_name = {name: keras.optimizers.SGD(0.01, weight_decay=decay) for name in names}
        trainer.compile(by_name, weight_decay=schedule, jit_compile=False)
        trainer.fit(case.first(64), batch_size=32, shuffle=False, verbose=0)
        results.append(trainer.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", [optimizers.LARS(0.1), keras.optimizers.Muon(0.1)])
def test_optimizers_with_a_decay_of_their_own_are_refused(optimizer):
    trainer = Still()
    trainer.build((None, 3))
    with pytest.raises(ValueError, match=r"decoupled weight decay of Keras.*is its own"):
        trainer.compile(optimizer, weight_decay=rising())


def test_numbers_are_refused():
    with pytest.raises(TypeError, match=r"`weight_decay` must be a schedule.*weight_decay=0\.05"):
        Still().compile("adamw", weight_decay=0.05)
