"""Fixed states of seed generators during evaluation."""

import keras
import numpy as np

from keras_ssl._keras_internals import global_seed_state

_SEED = 20_060_733


class EvaluationSeeds:
    """Sets a model's seed generators to fixed states for an evaluation, and restores them.

    Evaluation then draws the same numbers at each call, and training goes on as if there had been
    no evaluation. With `model=None` nothing is set.

    Args:
        model: model or layer.
        seed: integer from 0 below 2^32 that the states are made of.
    """

    def __init__(self, model: keras.layers.Layer | None, seed: int = _SEED):
        self._model = model
        self._seed = seed
        self._saved = []

    def fix(self) -> None:
        """Set all generators to the fixed states, unless they are set already."""
        if self._model is None or self._saved:
            return
        states = [v for v in self._model.variables if v.name == "seed_generator_state"]
        # the global generator, which layers without a seed of their own draw from
        states.append(global_seed_state())
        for number, state in enumerate(states):
            self._saved.append((state, np.array(state)))
            state.assign(np.array([number, self._seed], dtype=state.dtype))

    def restore(self) -> None:
        """Restore the states that the generators had before."""
        for state, value in self._saved:
            state.assign(value)
        self._saved = []
