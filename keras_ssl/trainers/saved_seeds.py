"""Save the random state of a model with its weights."""

from typing import Any

import keras


class SavedSeeds:
    """Mix-in for a `keras.Model`: files hold the states of all seed generators.

    Keras counts them as variables and not as weights, and leaves them out. A run that goes on from
    a file then draws what it drew at its start; with this it draws what it would have drawn.
    """

    def _seed_states(self) -> list[keras.Variable]:
        """The states of all seed generators: Keras counts them as variables, not as weights."""
        weights = {id(v) for v in self.weights}
        return [
            v for v in self.variables if v.name == "seed_generator_state" and id(v) not in weights
        ]

    def save_own_variables(self, store: Any) -> None:
        """Save the states of the seed generators, which Keras leaves out, with the weights."""
        super().save_own_variables(store)
        for number, state in enumerate(self._seed_states()):
            store[f"seed_generator_state_{number}"] = state.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Load what `save_own_variables` saved: a resumed run draws what the run would have."""
        saved = {key: store[key] for key in list(store.keys())}
        for number, state in enumerate(self._seed_states()):
            value = saved.pop(f"seed_generator_state_{number}", None)
            if value is not None:  # plain Keras did not write any
                state.assign(value)
        super().load_own_variables(saved)
