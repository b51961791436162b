"""Values of variables, of which each has one value on JAX, however many devices hold it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


class ReplicaValues:
    """Reads and writes variables, with the interface of the TensorFlow engine's class.

    Args:
        strategy: not used.
        variables: the `keras.Variable`s.
    """

    def __init__(self, strategy: Any, variables: Sequence[keras.Variable]):
        self.variables = list(variables)

    def read(self) -> list[tuple[np.ndarray, bool]]:
        """Return the value of each variable, and `False`: its first axis counts no replicas."""
        return [(keras.ops.convert_to_numpy(one.value), False) for one in self.variables]

    def write(self, values: Sequence[tuple[np.ndarray, bool]]) -> None:
        """Set the variables to what `read` returned."""
        for variable, (value, is_by_replica) in zip(self.variables, values, strict=True):
            if is_by_replica:
                raise ValueError(
                    "The backup is of a run on several replicas of TensorFlow, and on the JAX "
                    "backend a variable has one value. Resume it with KERAS_BACKEND=tensorflow. "
                    f"Received: {len(value)} values of `{variable.path}`"
                )
            if value.dtype.kind == "V":  # NumPy's files do not name bfloat16
                value = value.view(np.asarray(variable.value).dtype)
            variable.assign(value)
