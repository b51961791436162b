"""Backups of the whole state of training, from which an interrupted run resumes."""

import os
import re
import signal
import threading
import uuid
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.callbacks._backup_contents import (
    check_same_run,
    describe_run,
    is_of_optimizer,
    read_callbacks,
    write_callbacks,
)
from keras_ssl.callbacks._backup_file import (
    check_folder,
    check_space,
    check_writer,
    read_backup,
    remove_unfinished,
    write_backup,
)
from keras_ssl.callbacks._backup_settings import changed_settings, learning_rates
from keras_ssl.distribute.workers import agree, gather_numbers, is_chief, is_multi_worker
from keras_ssl.trainers.engine.epochs import EpochKeeper, Epochs, Position
from keras_ssl.trainers.engine.pipelines import shuffles_without_seed
from keras_ssl.trainers.engine.random_states import read_random_states, write_random_states
from keras_ssl.trainers.engine.replica_values import ReplicaValues


class BackupAndResume(EpochKeeper):
    """Back up the whole state of training, and resume at the step where a run was interrupted.

    Start an interrupted run again with the same command. It finds the backup in `folder` and ends
    with the same weights as a run without interruption: bit for bit if the device computes
    deterministically (`tf.config.experimental.enable_op_determinism`).

    One file, `folder/backup.npz`, holds the weights and all other variables of the model, the
    optimizers, the running means of the metrics, the states of all seed generators, the history,
    the counters of `EarlyStopping`, `ReduceLROnPlateau` and others, and the position: epoch and
    step. The data is not part of it. It is read again up to the position, so the pipeline must
    give the same batches each time the script runs: seed whatever shuffles, with
    `keras.utils.set_random_seed` at the start of the script or with `seed=`. Arrays are shuffled
    by `fit`, which needs no seed.

    The file is replaced atomically: a kill during a backup leaves the previous one. The file stays
    when training has ended, so that the same command does not train again but continues after
    `fit`; to start over, delete it.

    `keras.callbacks.BackupAndRestore`, in contrast, restores weights and optimizer at the start of
    an epoch.

    Works with the trainers of keras_ssl and every model that mixes in `DistributedFit`, on one
    device and under strategies. With several workers only the chief writes, and all of them must
    share `folder`.

    Args:
        folder: folder of the backup, used by this run only. It is created if its parent exists.
        every_epochs: back up before the first step, after every so many epochs, and when training
            ends.
        every_steps: also back up within epochs, after every so many steps since the last backup;
            with `steps_per_execution`, at the end of an execution. `None`: only at epochs.
        delete_at_end: whether to delete the backup when training has ended.
        restore_optimizer: whether a resumed run goes on with the optimizers of the interrupted one:
            their learning rates, where these are numbers and not schedules, their slots and their
            counts of steps. With `False` it starts with the optimizers that `compile` got, at step
            0 of their schedules, whatever the interrupted run used: to resume with another learning
            rate, schedule or optimizer. All else is restored. Pass it for the start that shall
            change the optimizer, and leave it out of later ones.

    A resumed run warns of settings that are not those with which the interrupted one was started,
    with both values: of a learning rate in place of which the backup's is used, and of those that
    count from then on, such as a schedule, a weight decay or the temperature of a loss.

    Raises:
        OSError: before the first step, if `folder` cannot be written to or has too little space;
            later, if a backup cannot be written.
        RuntimeError: during training, if another process writes to `folder` too.
        ValueError: before the first step, if the backup in `folder` is damaged, of another run
            (another model, optimizer or data) or of a newer keras_ssl.
        TypeError: if the model cannot resume in the middle of an epoch.

    Example:

    >>> import keras, keras_ssl, numpy as np, tempfile
    >>> class Autoencoder(keras_ssl.trainers.SelfSupervisedModel):
    ...     def compute_losses(self, batch, training):
    ...         error = keras.ops.square(self.encoder(batch.x) - batch.x)
    ...         return {"reconstruction": error}
    >>> def run(folder, epochs):
    ...     trainer = Autoencoder(keras.layers.Dense(8))
    ...     trainer.compile(optimizer="adam")
    ...     backup = keras_ssl.callbacks.BackupAndResume(folder)
    ...     x = np.ones((16, 8), "float32")
    ...     return trainer.fit(x, epochs=epochs, verbose=0, callbacks=[backup])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first, second = run(folder, 2), run(folder, 3)
    >>> second.epoch
    [0, 1, 2]
    >>> first.history["loss"] == second.history["loss"][:2]
    True
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        every_epochs: int = 1,
        every_steps: int | None = None,
        delete_at_end: bool = False,
        restore_optimizer: bool = True,
    ):
        checks.training_backend()
        super().__init__()
        if not isinstance(folder, (str, os.PathLike)) or not str(folder):
            raise ValueError(f"`folder` must be the path of a folder. Received: folder={folder!r}")
        self.folder = Path(folder)
        self.path = self.folder / "backup.npz"
        self.every_epochs = checks.integer("every_epochs", every_epochs, minimum=1)
        self.every_steps = checks.integer("every_steps", every_steps, minimum=1, optional=True)
        self.delete_at_end = delete_at_end
        self.restore_optimizer = restore_optimizer
        self._forget()

    def _forget(self) -> None:
        """Drop everything that belongs to a call of `fit`."""
        self._model = self._others = self._strategy = self._epochs = None
        self._manifest = self._arrays = None
        self._values = None
        self._epoch = self._steps_since = 0
        self._entered = self._asked_to_stop = False
        self._handler = None

    # Called by `fit`, in this order

    def begin(
        self,
        model: keras.Model,
        others: list[keras.callbacks.Callback],
        initial_epoch: int,
        epochs: int,
    ) -> int:
        """Read the backup, if there is one; return the epoch to start in."""
        self._forget()
        self._model, self._others = model, others
        self._strategy = model.distribute_strategy
        self._initial_epoch, self._last_epoch = initial_epoch, epochs
        self._shuffle_seed = self._position = None
        self._writer = uuid.uuid4().hex
        self._writers = {self._writer}
        found = agree(self._strategy, self._open)
        self._check_that_all_found_the_same(found)
        if found is None:
            return initial_epoch
        self._manifest, self._arrays, _ = found
        self._shuffle_seed = self._manifest["shuffle_seed"]
        self._writers.add(self._manifest["writer"])
        self._position = Position(**self._manifest["position"])
        if self._manifest["has_ended"] and epochs <= self._manifest["epochs"]:
            if is_chief(self._strategy):
                warnings.warn(
                    f"The run in {self.folder} has ended, after {self._position.epoch} epochs: its "
                    "final state is restored and nothing is trained. Delete the folder to start "
                    "over, or raise `epochs` to continue.",
                    stacklevel=5,
                )
            return max(self._position.epoch, epochs)
        return self._position.epoch

    def _open(self) -> Any:
        if is_chief(self._strategy):
            check_folder(self.folder)
            remove_unfinished(self.path)
        found = read_backup(self.path)
        if found is not None and found[0]["initial_epoch"] != self._initial_epoch:
            raise ValueError(
                f"The backup in {self.folder} is of a call of `fit` with initial_epoch="
                f"{found[0]['initial_epoch']}. Give each call its own folder. Received: "
                f"initial_epoch={self._initial_epoch}"
            )
        return found

    def _check_that_all_found_the_same(self, found: Any) -> None:
        number = -1 if found is None else found[2] >> 1
        numbers = gather_numbers(self._strategy, [number])[:, 0]
        if len(set(numbers.tolist())) > 1:
            raise ValueError(
                "Workers found different backups. All of them must share `folder`. "
                f"Received: folder={str(self.folder)!r}; replicas without a backup: "
                f"{np.flatnonzero(numbers == -1).tolist()} of {len(numbers)}"
            )

    def shuffle_seed(self, drawn: int) -> int:
        """Return the seed with which the interrupted run shuffled arrays, else `drawn`."""
        if self._shuffle_seed is None:
            self._shuffle_seed = drawn
        return self._shuffle_seed

    def attach(self, epochs: Epochs) -> None:
        """Compare the backup with this run and restore it, before any callback is called."""
        self._epochs = epochs
        agree(self._strategy, self._prepare)
        if self._manifest is not None:
            epochs.start_at(self._position)
            self._restore_variables()
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and not is_multi_worker(self._strategy):
            self._handler = signal.signal(signal.SIGTERM, self._ask_to_stop)

    def _prepare(self) -> None:
        self._about = describe_run(self._model, self._epochs)
        if self._manifest is not None:
            before = self._manifest["about"]
            check_same_run(before, self._about, self.path, self.restore_optimizer)
            self._compare_settings(before)
            if self._position.step % self._epochs.together:
                raise ValueError(
                    f"The backup in {self.folder} was made after {self._position.step} steps of an "
                    "epoch, a number that `steps_per_execution` must divide. Received: "
                    f"steps_per_execution={self._epochs.together}"
                )
        if is_chief(self._strategy):
            groups = self._model.training_variables().values()
            check_space(self.folder, sum(_size(one) for group in groups for one in group))
            if shuffles_without_seed(self._epochs.dataset):
                warnings.warn(
                    "`x` is shuffled without a seed: after an interruption its batches come in "
                    "another order, so the run will not end with the same weights. Call "
                    "`keras.utils.set_random_seed` at the start of the script, or pass `seed` to "
                    "`shuffle`.",
                    stacklevel=6,
                )

    def _compare_settings(self, before: dict[str, Any]) -> None:
        """Warn of settings that differ from those of the interrupted run."""
        if "settings" not in before:  # written by an earlier version
            return
        now, held = self._about["settings"], {}
        if self.restore_optimizer:
            held = learning_rates(before["variables"], self._arrays)
        else:  # the optimizers are meant to differ
            now = {part: values for part, values in now.items() if "optimizer" not in part}
        replaced, counting = changed_settings(before["settings"], now, held)
        for part in held:  # the rate of the run stays that with which it was started
            rate = before["settings"].get(part, {}).get("learning_rate")
            self._about["settings"][part]["learning_rate"] = rate
        if not is_chief(self._strategy):
            return
        if replaced:
            warnings.warn(
                f"The learning rate is not that with which the run in {self.folder} was started. "
                "The backup's is used. To train on with the new one, pass "
                f"`BackupAndResume(restore_optimizer=False)`. Received: {'; '.join(replaced)}",
                stacklevel=7,
            )
        if counting:
            warnings.warn(
                f"The run in {self.folder} was started with other settings. Training goes on with "
                f"the new ones. Received: {'; '.join(counting)}",
                stacklevel=7,
            )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Print where training resumes."""
        if self._epochs is None:
            raise TypeError(
                "BackupAndResume needs a model that can resume in the middle of an epoch: a "
                "trainer of keras_ssl, or a model that mixes in `keras_ssl.trainers."
                "DistributedFit`. Use `keras.callbacks.BackupAndRestore` for others. Received: a "
                f"model of type {type(self.model).__name__}"
            )
        resumes = self._position is not None and self._position.epoch < self._last_epoch
        if resumes and self.params.get("verbose") and is_chief(self._strategy):
            print(
                f"Resuming from {self.path}: epoch {self._position.epoch + 1}, "
                f"{self._position.step} steps done"
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remember the epoch."""
        self._epoch = epoch

    def before_reading(self) -> None:
        """Restore Python's and NumPy's generators, from which shuffles draw their order."""
        write_random_states(self._manifest["random_at_entry"])

    def enter_epoch(self) -> None:
        """Restore the rest of the state, or back up if it is due."""
        # After `on_epoch_begin` of all callbacks: Keras has just reset the metrics, and a schedule
        # may have multiplied the learning rate, as it had when the backup was made.
        is_first, self._entered = not self._entered, True
        if is_first and self._manifest is not None:
            self._random_at_entry = self._manifest["random_at_entry"]
            self._restore_variables()
            if self._position.step == 0:
                self._model.reset_metrics()  # the backup holds those of the previous epoch
            self._restore_the_rest()
            return
        self._random_at_entry = read_random_states()
        if is_first or (self._epoch - self._initial_epoch) % self.every_epochs == 0:
            self._back_up(self._epoch, self._epochs.counts)

    def after_step(self) -> None:
        """Back up if it is due; stop if the process got SIGTERM."""
        self._steps_since += self._epochs.together
        is_due = self.every_steps is not None and self._steps_since >= self.every_steps
        if is_due or self._asked_to_stop:
            self._epochs.write_back()
            if self._has_finite_loss():
                self._back_up(self._epoch, self._epochs.counts)
        if self._asked_to_stop:
            raise SystemExit(128 + signal.SIGTERM)

    def finish(self, history: keras.callbacks.History) -> None:
        """Back up the final state, or delete the backup."""
        if not self._entered and self._manifest is not None:
            self._restore_the_rest()  # the history of a run that has ended
        elif self._entered and not self.delete_at_end:
            self._back_up(self._epoch + 1, [*self._epochs.counts, 0], has_ended=True)
        if self.delete_at_end and is_chief(self._strategy):
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Restore the signal handler and drop the model."""
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
        self._forget()

    # The state

    def _all_callbacks(self) -> list[keras.callbacks.Callback]:
        history = self._model.history
        return self._others + ([] if history in self._others else [history])

    def _replica_values(self) -> tuple[dict[str, list[keras.Variable]], ReplicaValues]:
        variables = self._model.training_variables()
        flat = [one for group in variables.values() for one in group]
        if self._values is None or [id(v) for v in self._values.variables] != list(map(id, flat)):
            self._values = ReplicaValues(self._strategy, flat)
        return variables, self._values

    def _back_up(self, epoch: int, counts: list[int], has_ended: bool = False) -> None:
        self._steps_since = 0
        values = self._replica_values()[1].read()  # on every worker
        if not is_chief(self._strategy):
            return
        backend = keras.backend.backend()
        arrays = {f"variable/{i}": value for i, (value, _) in enumerate(values)}
        manifest = {
            "writer": self._writer,
            "versions": {"keras": keras.__version__, backend: import_module(backend).__version__},
            "initial_epoch": self._initial_epoch,
            "epochs": self._last_epoch,
            "has_ended": has_ended,
            "position": {"epoch": epoch, "step": counts[-1], "counts": counts[:-1]},
            "shuffle_seed": self._shuffle_seed,
            "about": self._about,
            "by_replica": [is_by_replica for _, is_by_replica in values],
            "random": read_random_states(),
            "random_at_entry": self._random_at_entry,
            "callbacks": read_callbacks(self._all_callbacks(), arrays),
        }
        check_writer(self.path, self._writers)
        write_backup(self.path, manifest, arrays)

    def _restore_variables(self) -> None:
        by_replica = self._manifest["by_replica"]
        values = [(self._arrays[f"variable/{i}"], one) for i, one in enumerate(by_replica)]
        if self.restore_optimizer:
            self._replica_values()[1].write(values)
            return
        start, kept = 0, []
        for name, group in self._manifest["about"]["variables"].items():
            if not is_of_optimizer(name):
                kept += values[start : start + len(group)]
            start += len(group)
        groups = self._model.training_variables().items()
        flat = [one for name, group in groups if not is_of_optimizer(name) for one in group]
        ReplicaValues(self._strategy, flat).write(kept)
        self._model.on_new_optimizer()

    def _restore_the_rest(self) -> None:
        write_callbacks(self._all_callbacks(), self._manifest["callbacks"], self._arrays)
        write_random_states(self._manifest["random"])
        self._arrays = None

    def _has_finite_loss(self) -> bool:
        """Whether the loss is finite; a backup would be of no use otherwise."""
        losses = [one for one in self._model.metrics if one.name == "loss"]
        return all(np.all(np.isfinite(one.result())) for one in losses)

    def _ask_to_stop(self, *_: Any) -> None:
        self._asked_to_stop = True


def _size(variable: keras.Variable) -> int:
    bits = re.match(r"[a-z]+(\d+)", variable.dtype)
    return int(np.prod(variable.shape)) * (int(bits[1]) // 8 if bits else 1)
