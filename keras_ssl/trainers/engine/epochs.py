"""Epochs of `fit` that can start in the middle, for resuming interrupted runs.

Private names of Keras that this file uses:

- `EpochIterator._enumerate_iterator`, the generator of the steps of an epoch. Keras calls it on
  the instance, so that it can be replaced there. Both backends have an iterator of this kind.
- `EpochIterator._steps_seen` and `_num_batches`, by which Keras learns the length of a dataset
  of unknown length, and `EpochIterator.data_adapter`.
- `Model.jax_state_sync`, which writes the values of the last step into the variables.

`tests/trainers/engine/test_epochs.py` fails if one of them is removed.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keras_ssl.trainers.engine.pipelines import depends_on_reading


@dataclass(frozen=True)
class Position:
    """Position of the next step in a run.

    Attributes:
        epoch: the epoch, from 0.
        step: number of completed steps of this epoch.
        counts: number of steps of each earlier epoch, from the first that `fit` ran.
    """

    epoch: int
    step: int
    counts: tuple[int, ...]


class EpochKeeper(keras.callbacks.Callback):
    """Callback that decides where `fit` starts, and is called between steps.

    `DistributedFit` finds it among the callbacks and calls, in this order, `begin`, `shuffle_seed`
    if the data is arrays, `attach`, `before_reading` if the run starts in the middle of an epoch,
    `enter_epoch` and `after_step` for every epoch and step, `finish` if training succeeded, and
    `close` in any case.
    """

    def begin(
        self,
        model: keras.Model,
        others: list[keras.callbacks.Callback],
        initial_epoch: int,
        epochs: int,
    ) -> int:
        """Return the epoch to start in; called first in `fit`.

        Args:
            model: the model that is trained.
            others: the other callbacks.
            initial_epoch: the first epoch of a new run.
            epochs: the epoch to stop before.
        """
        raise NotImplementedError

    def shuffle_seed(self, drawn: int) -> int:
        """Return the seed to shuffle arrays with: `drawn`, or that of the resumed run."""
        raise NotImplementedError

    def attach(self, epochs: "Epochs") -> None:
        """Prepare to run; all variables exist, and no other callback has been called yet."""

    def before_reading(self) -> None:
        """Act before the batches of the first epoch are read again."""

    def enter_epoch(self) -> None:
        """Act before the first step of an epoch, after `on_epoch_begin` of all callbacks."""

    def after_step(self) -> None:
        """Act after each execution of one or several steps, after all callbacks."""

    def finish(self, history: keras.callbacks.History) -> None:
        """Act at the end of successful training."""

    def close(self) -> None:
        """Release the resources that `begin` acquired."""


class Epochs:
    """Epochs of one call of `fit`, which can start in the middle.

    To continue where an interrupted run was, the data is read again: as many iterators are made as
    the run had made, since a seeded shuffle draws its next order when an iterator is made, and the
    batches that the run had seen in its last epoch are dropped. Batches of earlier epochs are read
    again only if the order depends on it: with one iterator for all epochs (`steps_per_epoch`), or
    with a pipeline that repeats or caches what it has shuffled.

    Args:
        iterator: Keras' iterator of the epochs.
        specs: shapes of one replica's share of a batch, as `keras.KerasTensor`s.
        keeper: the keeper, which is called before epochs and after steps.
        model: the model that is trained.
    """

    def __init__(self, iterator: Any, specs: Any, keeper: EpochKeeper, model: Any = None):
        self.iterator = iterator
        self.model = model
        self.specs = specs
        self.keeper = keeper
        self.together = iterator.steps_per_execution
        self.is_idle = False
        self._start = None
        self._counts = []
        self._keras_steps = iterator._enumerate_iterator
        iterator._enumerate_iterator = self._steps

    @property
    def length(self) -> int | None:
        """Number of steps per epoch, if known."""
        return self.iterator.num_batches

    @property
    def known_length(self) -> int | None:
        """Number of batches that the data itself reports, or `None`."""
        batches = self.iterator.data_adapter.num_batches
        return None if batches is None else int(batches)

    @property
    def dataset(self) -> Any:
        """Dataset that the epochs read."""
        adapter = self.iterator.data_adapter
        of_adapter = getattr(adapter, "_dataset", getattr(adapter, "py_dataset", None))
        return getattr(self.iterator, "_distributed_dataset", of_adapter)

    def write_back(self) -> None:
        """Let variables have the values that the last step left, which on JAX are kept apart."""
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()

    def start_at(self, position: Position) -> None:
        """Make the run start at a position."""
        self._start = position

    @property
    def counts(self) -> list[int]:
        """Number of completed steps of each epoch so far, including the current one."""
        return list(self._counts)

    def _steps(self) -> Iterator[tuple[int, int, Any]]:
        """Yield the steps of an epoch, in place of Keras' generator."""
        done = 0
        if self._start is not None:
            position, self._start = self._start, None
            self._skip_epochs(position)
            self.keeper.before_reading()
            done = position.step
        steps = self._keras_steps()
        for _ in range(0, done, self.together):
            if not self._drop(next(steps)[2]):
                raise ValueError(
                    f"`x` ran out of batches before step {done} of the epoch, where the run was "
                    "interrupted. Resume with the same data. Received: fewer batches"
                )
        # until a step has run in this process, `fit` has no logs of the epoch
        self.is_idle = done > 0
        self._counts.append(done)
        self.keeper.enter_epoch()
        for first, last, batches in steps:
            yield first, last, batches
            self.is_idle = False
            # Keras counts a last, shorter execution as a full one
            self._counts[-1] = last + 1 if self.length is None else min(last + 1, int(self.length))
            self.keeper.after_step()

    def _skip_epochs(self, position: Position) -> None:
        read = self.iterator.steps_per_epoch is not None or depends_on_reading(self.dataset)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that data ran out, of which the first run warned
            for steps in position.counts:
                if read:
                    self._read_epoch()
                elif self.known_length is None:
                    self._run_out(steps)
                else:
                    for _ in self._keras_steps():
                        pass
        self._counts = list(position.counts)

    def _read_epoch(self) -> None:
        with self.iterator.catch_stop_iteration():
            for _, _, batches in self._keras_steps():
                if not self._drop(batches):
                    raise StopIteration

    def _run_out(self, steps: int) -> None:
        """Tell Keras that the data ran out after so many steps, without reading it."""
        with self.iterator.catch_stop_iteration():
            for _ in self._keras_steps():
                self.iterator._steps_seen = steps + self.together
                raise StopIteration

    def _drop(self, batches: Any) -> bool:
        """Drop the batches of one execution, and return whether there were any."""
        taken = [next(batches, None) for _ in range(self.together)]
        return taken[0] is not None


def find_keeper(model: keras.Model, arguments: dict[str, Any]) -> EpochKeeper | None:
    """Return the `EpochKeeper` among the callbacks of `fit`, or `None`, after it has set the start.

    Changes `initial_epoch` in `arguments`, those of `fit` by name. Raises a `ValueError` if there
    are several keepers.
    """
    callbacks = arguments.get("callbacks")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    keepers = [c for c in keras.tree.flatten(callbacks) if isinstance(c, EpochKeeper)]
    if len(keepers) > 1:
        raise ValueError(
            f"`callbacks` may hold one {type(keepers[0]).__name__}. Received: {len(keepers)}"
        )
    if not keepers:
        return None
    initial_epoch, epochs = arguments.get("initial_epoch", 0), arguments.get("epochs", 1)
    others = [c for c in keras.tree.flatten(callbacks) if c is not keepers[0]]
    arguments["initial_epoch"] = keepers[0].begin(model, others, initial_epoch, epochs)
    return keepers[0]
