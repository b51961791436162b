"""States of the random generators that belong to the process and not to a model.

Private names of Keras that this file uses: `global_state.get_global_attribute` and the name of
the global seed generator, which random functions without a seed draw from.
`tests/trainers/engine/test_random_states.py` fails if one of them is removed.
"""

import random
from typing import Any

import numpy as np
from keras.src.backend.common.global_state import get_global_attribute
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR, global_seed_generator


def read_random_states() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and Keras' global generators, fit for JSON."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    states = {
        "python": [version, list(numbers), gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],
    }
    generator = get_global_attribute(GLOBAL_SEED_GENERATOR)
    if generator is not None:
        states["keras"] = generator.state.numpy().tolist()
    return states


def write_random_states(states: dict[str, Any]) -> None:
    """Restore the states that `read_random_states` returned."""
    if "keras" in states:
        # before Python's generator is restored, since a new Keras generator draws from that
        generator = global_seed_generator()
        generator.state.assign(np.array(states["keras"], generator.state.dtype))
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, "uint32"), *rest))
