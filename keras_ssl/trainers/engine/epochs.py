"""Own the epochs of `fit`, so that a run can start in the middle of one.

Private names of Keras that this file touches:

- `TFEpochIterator._enumerate_iterator`, the generator that every epoch of `fit` runs through. Keras
  calls it on the instance, so that ours can stand in for it.
- `TFEpochIterator._steps_seen` and `_num_batches`, by which Keras learns the length of a dataset
  that does not tell it, and `TFEpochIterator.data_adapter`.

`tests/trainers/engine/test_epochs.py` fails when one of them goes away.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keras_ssl.trainers.engine.pipelines import depends_on_reading


@dataclass(frozen=True)
class Position:
    """Where in a run the next step is.

    Attributes:
        epoch: the epoch, from 0.
        step: how many steps of this epoch are done.
        counts: how many steps each epoch before had, from the first that `fit` ran.
    """

    epoch: int
    step: int
    counts: tuple[int, ...]


class EpochKeeper(keras.callbacks.Callback):
    """A callback that decides where `fit` starts and is called between steps.

    `DistributedFit` finds it among the callbacks and calls, in this order, `begin`, `shuffle_seed`
    if the data is arrays, `attach`, `before_reading` if it starts in the middle, then `enter_epoch`
    and `after_step` for every epoch and step, and `finish` if all went well; `close` in any case.
    """

    def begin(
        self,
        model: keras.Model,
        others: list[keras.callbacks.Callback],
        initial_epoch: int,
        epochs: int,
    ) -> int:
        """Return the epoch to start in, before anything of `fit` has run.

        Args:
            model: the model that `fit` was called on.
            others: the other callbacks.
            initial_epoch: the first epoch of the run, if it is a new one.
            epochs: the epoch to stop before.
        """
        raise NotImplementedError

    def shuffle_seed(self, drawn: int) -> int:
        """Return the seed to shuffle arrays with: `drawn`, or another run's."""
        raise NotImplementedError

    def attach(self, epochs: "Epochs") -> None:
        """Get ready: all variables exist, no other callback has been called."""
        raise NotImplementedError

    def before_reading(self) -> None:
        """Act before batches of the epoch to start in are read again."""
        raise NotImplementedError

    def enter_epoch(self) -> None:
        """Act before the first step of an epoch, after every callback's `on_epoch_begin`."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Act after a step, or several executed together, once every callback has seen it."""
        raise NotImplementedError

    def finish(self, history: keras.callbacks.History) -> None:
        """Act once training has ended."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what `begin` took."""
        raise NotImplementedError


class Epochs:
    """The epochs of one call of `fit`, which can start in the middle.

    To be where an interrupted run was, the data is read again: as many iterators are made as that
    run had made, since a seeded shuffle draws its next order when an iterator is made, and the
    batches that it had seen are taken and dropped. Batches of earlier epochs are read again only
    where the order depends on them: one iterator that goes on through the epochs
    (`steps_per_epoch`), or a pipeline that repeats or caches what it has shuffled.

    Args:
        iterator: Keras' iterator of the epochs.
        specs: the shapes of one replica's share of a batch, as `keras.KerasTensor`s.
        keeper: is told of epochs and steps.
    """

    def __init__(self, iterator: Any, specs: Any, keeper: EpochKeeper):
        self.iterator = iterator
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
        """Steps an epoch, if they are known."""
        return self.iterator.num_batches

    @property
    def known_length(self) -> int | None:
        """Batches in the data, if it tells; a length found by running out does not count."""
        batches = self.iterator.data_adapter.num_batches
        return None if batches is None else int(batches)

    @property
    def dataset(self) -> Any:
        """The dataset that the epochs read."""
        return self.iterator._distributed_dataset

    def start_at(self, position: Position) -> None:
        """Start in the middle.

        Args:
            position: where to start.
        """
        self._start = position

    @property
    def counts(self) -> list[int]:
        """Steps done in each epoch so far, the one that runs included."""
        return list(self._counts)

    def _steps(self) -> Iterator[tuple[int, int, Any]]:
        """Stand in for Keras' generator of the steps of an epoch."""
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
                    f"`x` ran out of batches before step {done} of the epoch, where the "
                    "interrupted run was. Resume with the same data."
                )
        # `fit` knows no logs of an epoch until a step has run in this process
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
            warnings.simplefilter("ignore")  # of data that ran out: the first run gave it
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
        """Let Keras learn that the data ran out after so many steps, without reading it."""
        with self.iterator.catch_stop_iteration():
            for _ in self._keras_steps():
                self.iterator._steps_seen = steps + self.together
                raise StopIteration

    def _drop(self, batches: Any) -> bool:
        """Take the batches of one execution; whether there was any."""
        taken = [next(batches, None) for _ in range(self.together)]
        return taken[0] is not None


def find_keeper(model: keras.Model, arguments: dict[str, Any]) -> EpochKeeper | None:
    """Look for an `EpochKeeper` among the callbacks of `fit`; let it say where to start.

    Args:
        model: the model that `fit` was called on.
        arguments: the arguments of `fit` by name; `initial_epoch` may change.

    Returns:
        The keeper, if there is one.

    Raises:
        ValueError: if there are several.
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
