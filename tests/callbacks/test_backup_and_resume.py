"""Interrupted and resumed runs end with the same bits as runs without interruption."""

import functools
import json
import os
import signal
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from keras_ssl.callbacks import BackupAndResume
from tests.callbacks.interrupted import (
    InterruptAt,
    assert_same_bits,
    compiled,
    dataset,
    examples,
    restarted,
    state,
)

pytestmark = pytest.mark.usefixtures("deterministic")


@functools.cache
def undisturbed(fit, make=restarted):
    """The state and the history of a run that nothing interrupts."""
    model = make()
    history = fit(model, [])
    return state(model), history


def interrupt(folder, at, fit, every_steps=1, make=restarted):
    """Train until the interruption."""
    model = make()
    with pytest.raises(KeyboardInterrupt):
        fit(model, [BackupAndResume(folder, every_steps=every_steps), InterruptAt(*at)])


def resume(folder, fit, make=restarted, **options):
    """Run the same command again after the interruption."""
    model = make(**options)
    return model, fit(model, [BackupAndResume(folder)])


def assert_ends_as_undisturbed(folder, fit, make=restarted):
    """Resume, and compare the weights and the logs with those of a run without interruption."""
    whole, history = undisturbed(fit, make)
    resumed, again = resume(folder, fit, make)
    assert_same_bits(whole, resumed)
    assert again.epoch == history.epoch
    assert again.history == history.history


def fit_with(make_data, epochs=3, **arguments):
    """A function that calls `fit` as a script would, with new data."""

    def fit(model, callbacks):
        data = make_data()
        x, y = data if isinstance(data, tuple) else (data, None)
        return model.fit(x, y, epochs=epochs, verbose=0, callbacks=callbacks, **arguments)

    return fit


fit_arrays = fit_with(examples, batch_size=4)
fit_validated = fit_with(
    examples, batch_size=4, validation_data=examples(12), validation_batch_size=4
)


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "at",
    [(0, 0), (0, 5), (0, None), (1, 2), (1, None), (2, 5)],
    ids=lambda at: f"{at[0]}-{at[1]}",
)
def test_interrupted_anywhere_it_ends_as_without_interruption(tmp_path, at):
    """At the first step, within, at the last step of an epoch, and in validation (`None`)."""
    interrupt(tmp_path, at, fit_validated)
    assert_ends_as_undisturbed(tmp_path, fit_validated)


@pytest.mark.parametrize("at", [(0, 0), pytest.param((1, 2), marks=pytest.mark.slow)])
def test_a_new_model_is_restored(tmp_path, at):
    """A model without variables before `fit`, which draws from the global seed generator."""
    interrupt(tmp_path, at, fit_validated, make=compiled)
    assert_ends_as_undisturbed(tmp_path, fit_validated, make=compiled)
    _, history = undisturbed(fit_validated, compiled)
    assert history.epoch == [0, 1, 2]


def test_interrupted_again_and_again(tmp_path):
    for at in [(0, 1), (0, 3), (0, None), (1, 0), (1, 5), (2, 4), (2, None)]:
        interrupt(tmp_path, at, fit_validated)
    assert_ends_as_undisturbed(tmp_path, fit_validated)


def test_backups_at_the_end_of_epochs_resume_there(tmp_path):
    interrupt(tmp_path, (1, 3), fit_arrays, every_steps=None)
    manifest = read_manifest(tmp_path)
    assert manifest["position"] == {"epoch": 1, "step": 0, "counts": [6]}
    assert_ends_as_undisturbed(tmp_path, fit_arrays)


def test_all_state_is_restored_whatever_seed_the_new_process_has(tmp_path):
    """With another seed, for data whose order does not depend on it."""
    fit = fit_with(lambda: dataset().batch(4))
    whole, _ = undisturbed(fit, compiled)
    interrupt(tmp_path, (1, 2), fit, make=compiled)
    resumed, _ = resume(tmp_path, fit, make=compiled, seed=99)
    assert_same_bits(whole, resumed)


def test_backups_change_nothing(tmp_path):
    whole, history = undisturbed(fit_validated)
    backed = restarted()
    again = fit_validated(backed, [BackupAndResume(tmp_path, every_steps=2)])
    assert_same_bits(whole, backed)
    assert again.history == history.history


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        x, y = examples()
        return x[4 * index : 4 * index + 4], y[4 * index : 4 * index + 4]


def generated():
    x, y = examples(96)
    for start in range(0, 96, 4):
        yield x[start : start + 4], y[start : start + 4]


PIPELINES = {
    "shuffled": (lambda: dataset().shuffle(24).batch(4).prefetch(2), {}),
    "shuffled with a seed": (lambda: dataset().shuffle(9, seed=5).batch(4), {}),
    "shuffled within": (
        lambda: dataset().batch(8).shuffle(3).unbatch().shuffle(5, seed=1).batch(4),
        {},
    ),
    "random numbers": (
        lambda: (
            tf.data.Dataset.zip(
                dataset(), tf.data.Dataset.random(seed=1, rerandomize_each_iteration=True)
            )
            .map(lambda xy, r: (xy[0] + tf.cast(r % 7, "float32"), xy[1]))
            .batch(4)
        ),
        {},
    ),
    "of unknown length": (lambda: dataset().shuffle(24).filter(lambda x, y: True).batch(4), {}),
    "cached in order": (lambda: dataset().cache().shuffle(24).batch(4), {}),
    "cached after the shuffle": (lambda: dataset().shuffle(24).cache().batch(4), {}),
    "repeated after the shuffle": (lambda: dataset(12).shuffle(12).repeat(2).batch(4), {}),
    "repeated for ever": (
        lambda: dataset().shuffle(24).repeat().batch(4),
        {"steps_per_epoch": 5},
    ),
    "one iterator for all epochs": (
        lambda: dataset(96).shuffle(96).batch(4),
        {"steps_per_epoch": 5},
    ),
    "with a remainder": (lambda: dataset(22).shuffle(24).batch(4), {}),
    "a generator": (generated, {"steps_per_epoch": 5}),
    "a PyDataset": (Sequence, {}),
    "a shuffled PyDataset": (Sequence, {"shuffle": True}),
    "arrays in order": (examples, {"batch_size": 4, "shuffle": False}),
    "arrays shuffled in batches": (examples, {"batch_size": 4, "shuffle": "batch"}),
    "arrays with a split": (examples, {"batch_size": 4, "validation_split": 0.25}),
}


EARLY = ("of unknown length", "one iterator for all epochs", "a shuffled PyDataset")


@pytest.mark.few(3)
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(
    ("name", "at"), [(name, (2, 1)) for name in PIPELINES] + [(name, (0, 2)) for name in EARLY]
)
def test_resumed_runs_get_the_same_batches(tmp_path, name, at):
    interrupt(tmp_path, at, fit_pipeline(name))
    assert_ends_as_undisturbed(tmp_path, fit_pipeline(name))


@functools.cache
def fit_pipeline(name):
    make_data, arguments = PIPELINES[name]
    return fit_with(make_data, **arguments)


def four_together():
    return restarted(steps_per_execution=4)


@pytest.mark.few(2)
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("at", [(0, 3), (2, 7)], ids=lambda at: f"{at[0]}-{at[1]}")
@pytest.mark.parametrize("name", ["shuffled", "of unknown length"])
def test_several_steps_per_execution(tmp_path, name, at):
    """Six batches in executions of four steps: the last one is shorter."""
    interrupt(tmp_path, at, fit_pipeline(name), make=four_together)
    assert_ends_as_undisturbed(tmp_path, fit_pipeline(name), make=four_together)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_the_last_step_of_an_epoch_of_unknown_length(tmp_path):
    fit = fit_pipeline("of unknown length")
    for at in [(0, 5), (2, 5)]:
        interrupt(tmp_path, at, fit)
    assert_ends_as_undisturbed(tmp_path, fit)


OPTIMIZERS = {
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(1e-2), dynamic_growth_steps=2
    ),
    "accumulation and average": lambda: keras.optimizers.SGD(
        1e-2,
        momentum=0.9,
        gradient_accumulation_steps=4,
        use_ema=True,
        ema_overwrite_frequency=5,
    ),
    "schedule": lambda: keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(1e-2, decay_steps=18)
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_are_restored(tmp_path, name):
    make = functools.partial(restarted, OPTIMIZERS[name])
    interrupt(tmp_path, (1, 2), fit_arrays, make=make)
    assert_ends_as_undisturbed(tmp_path, fit_arrays, make=make)


class Remembering(keras.callbacks.Callback):
    """A user's callback with a state."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])

    def get_state(self):
        return {"losses": self.losses, "array": np.arange(3), "nothing": None}

    def set_state(self, state):
        assert state["array"].tolist() == [0, 1, 2] and state["nothing"] is None
        self.losses = state["losses"]


def keras_callbacks():
    return [
        keras.callbacks.EarlyStopping(
            monitor="val_loss", patience=2, min_delta=100.0, restore_best_weights=True
        ),
        keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1, min_delta=100.0),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7),
        Remembering(),
    ]


@pytest.mark.parametrize(("at", "place"), [((1, 3), 0), ((1, None), 4), ((2, 0), 4)])
def test_states_of_callbacks_are_restored(tmp_path, at, place):
    """For any position of the backup in the list."""

    def fit(model, callbacks):
        others = keras_callbacks()
        others[place:place] = callbacks
        history = model.fit(
            *examples(), batch_size=4, epochs=8, verbose=0, callbacks=others,
            validation_data=examples(12), validation_batch_size=4,
        )  # fmt: skip
        model.seen = next(c.losses for c in others if isinstance(c, Remembering))
        return history

    whole = restarted()
    history = fit(whole, [])
    final, seen = state(whole), whole.seen
    assert len(history.epoch) == 3  # stopped early
    interrupt(tmp_path, at, fit)
    resumed, again = resume(tmp_path, fit)
    assert_same_bits(final, resumed)
    assert again.history == history.history
    assert resumed.seen == seen

    # the run has ended: the same command trains nothing and gives the same results
    with pytest.warns(UserWarning, match="has ended, after 3 epochs"):
        ended, once_more = resume(tmp_path, fit)
    assert_same_bits(final, ended)
    assert once_more.history == history.history


def read_manifest(folder):
    with np.load(folder / "backup.npz", allow_pickle=False) as file:
        return json.loads(file["manifest"].tobytes())


def test_a_run_that_has_ended_can_be_continued(tmp_path):
    resume(tmp_path, fit_with(examples, epochs=2))
    assert_ends_as_undisturbed(tmp_path, fit_with(examples, epochs=5))


def test_a_killed_run_can_be_given_more_or_fewer_epochs(tmp_path):
    interrupt(tmp_path, (1, 2), fit_arrays)
    fewer = fit_with(examples, epochs=1, batch_size=4)
    _, history = resume(tmp_path, fewer)
    assert history.epoch == [0]


def test_the_backup_can_be_deleted_at_the_end(tmp_path):
    fit_arrays(restarted(), [BackupAndResume(tmp_path, delete_at_end=True)])
    assert list(tmp_path.iterdir()) == []
    fit_arrays(restarted(), [BackupAndResume(tmp_path)])
    assert [file.name for file in tmp_path.iterdir()] == ["backup.npz"]


def test_each_call_of_fit_needs_its_own_folder(tmp_path):
    def both(model, first, second, **kwargs):
        options = {"batch_size": 4, "verbose": 0}
        model.fit(*examples(), epochs=2, callbacks=first, **options)
        return model.fit(*examples(), epochs=4, initial_epoch=2, callbacks=second, **options)

    model = restarted()
    both(model, [], [])
    whole = state(model)
    folders = tmp_path / "first", tmp_path / "second"
    with pytest.raises(KeyboardInterrupt):
        callbacks = [BackupAndResume(folders[1], every_steps=1), InterruptAt(3, 2)]
        both(restarted(), [BackupAndResume(folders[0])], callbacks)
    resumed = restarted()
    with pytest.warns(UserWarning, match="has ended"):
        both(resumed, *([BackupAndResume(folder)] for folder in folders))
    assert_same_bits(whole, resumed)
    with pytest.raises(ValueError, match="a call of `fit` with initial_epoch=2"):
        fit_arrays(restarted(), [BackupAndResume(folders[1])])


def test_one_callback_serves_several_fits(tmp_path):
    backup = BackupAndResume(tmp_path)
    fit_arrays(restarted(), [backup])
    with pytest.warns(UserWarning, match="has ended"):
        fit_arrays(restarted(), [backup])


def test_prints_where_it_resumes(tmp_path, capsys):
    interrupt(tmp_path, (1, 2), fit_arrays)
    restarted().fit(
        *examples(), batch_size=4, epochs=3, verbose=2, callbacks=[BackupAndResume(tmp_path)]
    )
    said = capsys.readouterr().out
    assert f"Resuming from {tmp_path / 'backup.npz'}: epoch 2, 2 steps done" in said
    assert "Epoch 2/3" in said and "Epoch 1/3" not in said


def test_a_nan_loss_is_not_backed_up(tmp_path):
    x, y = examples()
    y[13] = np.nan  # in the fourth batch
    backup = BackupAndResume(tmp_path, every_steps=1)
    with pytest.raises(KeyboardInterrupt):
        restarted().fit(
            x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[backup, InterruptAt(0, 5)]
        )
    assert read_manifest(tmp_path)["position"]["step"] == 3


def test_sigterm_makes_a_backup_and_ends_the_process(tmp_path):
    class Preempt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        fit_arrays(restarted(), [BackupAndResume(tmp_path), Preempt()])
    assert stopped.value.code == 143  # the code that a shell gives to a process ended by SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    assert read_manifest(tmp_path)["position"]["step"] == 3
    assert_ends_as_undisturbed(tmp_path, fit_arrays)


def test_an_unseeded_shuffle_gives_a_warning(tmp_path):
    fit = fit_with(lambda: dataset().shuffle(24, seed=1).batch(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(restarted(), [BackupAndResume(tmp_path / "a")])
    disable_op_determinism()  # it would raise an error for such a shuffle
    tf.random.set_seed(None)
    data = dataset().shuffle(24).batch(4)
    with pytest.warns(UserWarning, match="`x` is shuffled without a seed"):
        restarted().fit(data, verbose=0, callbacks=[BackupAndResume(tmp_path / "b")])


@functools.cache
def fit_under_replicas(of_arrays):
    if of_arrays:
        return fit_with(examples, epochs=2, batch_size=4)
    return fit_with(lambda: dataset().shuffle(24).batch(4, True), epochs=2)


@pytest.mark.few(1)
@pytest.mark.parametrize("at", [(0, 1), (1, 2)], ids=["0-1", "1-2"])
@pytest.mark.parametrize("of_arrays", [True, False])
def test_under_replicas(tmp_path, two_replicas, at, of_arrays):
    fit, make = fit_under_replicas(of_arrays), functools.partial(restarted, strategy=two_replicas)
    interrupt(tmp_path, at, fit, make=make)
    assert_ends_as_undisturbed(tmp_path, fit, make=make)


def test_from_two_replicas_to_one(tmp_path, two_replicas):
    model = restarted(strategy=two_replicas)
    with pytest.raises(KeyboardInterrupt):
        backup, look = BackupAndResume(tmp_path, every_steps=3), NoteLoss(batch=3)
        fit_arrays(model, [backup, look, InterruptAt(1, 3)])
    again = NoteLoss(batch=3)
    fit_arrays(restarted(), [BackupAndResume(tmp_path), again])
    assert again.found[1] == pytest.approx(look.found[1], rel=1e-6)


class NoteLoss(keras.callbacks.Callback):
    """The running mean of the loss before a step, by epoch."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch
        self.found = {}

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch:
            self.found[self.epoch] = float(self.model.metrics[0].result())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"folder": ""}, ValueError, "`folder` must be"),
        ({"folder": 3}, ValueError, "`folder` must be"),
        ({"every_epochs": 0}, ValueError, "`every_epochs` must be a positive integer"),
        ({"every_steps": -1}, ValueError, "`every_steps` must be a positive integer"),
        ({"every_steps": True}, TypeError, "`every_steps` must be a positive integer"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        BackupAndResume(**{"folder": "backup", **arguments})


def test_a_plain_keras_model_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="mixes in `keras_ssl"):
        model.fit(*examples(), verbose=0, callbacks=[BackupAndResume(tmp_path)])


def test_two_backups_are_refused(tmp_path):
    backups = [BackupAndResume(tmp_path / name) for name in "ab"]
    with pytest.raises(ValueError, match="may hold one BackupAndResume"):
        fit_arrays(restarted(), backups)
