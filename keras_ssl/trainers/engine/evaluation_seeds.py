"""Fixed random numbers for evaluation, which leave those of training untouched."""

import keras
import numpy as np

from keras_ssl._keras_internals import global_seed_state


class evaluation_seeds:  # noqa: N801
    """States of a model's seed generators, set aside while it is evaluated.

    Args:
        model: the model, or `None` for nothing to set aside.
    """

    def __init__(self, model: keras.Model | None):
        self._model = model
        self._saved = []

    def fix(self) -> None:
        """Set all generators to the states that evaluation draws from."""
        if self._model is None or self._saved:
            return
        states = [v for v in self._model.variables if v.name == "seed_generator_state"]
        # that of the global generator, which layers without a seed of their own draw from
        states.append(global_seed_state())
        for number, state in enumerate(states):
            self._saved.append((state, np.array(state)))
            state.assign(np.array([number, _SEED], dtype=state.dtype))

    def restore(self) -> None:
        """Give the generators back the states that training goes on from."""
        for state, value in self._saved:
            state.assign(value)
        self._saved = []


_SEED = 20_060_733
