"""How generators are called to draw examples."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks


def check_is_built(trainer: keras.Model) -> None:
    """Raise a `ValueError` if a trainer has no weights yet."""
    if trainer.input_specs is None:
        raise ValueError(
            f"{type(trainer).__name__} must be built before it can draw examples: call `fit`, or "
            "`build` with the shape of a batch of data. Received: a trainer that is not built"
        )


def generate(function: Callable[[Any], Any], inputs: Any, batch_size: int) -> Any:
    """Call a generator on its inputs in batches.

    Args:
        function: function of a structure of tensors that returns one, both with one row per
            example.
        inputs: the structure of tensors of all examples. Since all were drawn at once, the examples
            do not depend on the size of batches.
        batch_size: number of examples that are generated at a time.

    Returns:
        The structure of tensors of all examples.
    """
    batch_size = checks.integer("batch_size", batch_size, minimum=1)
    count = keras.tree.flatten(inputs)[0].shape[0]
    batches = [
        function(keras.tree.map_structure(lambda one, s=start: one[s : s + batch_size], inputs))
        for start in range(0, count, batch_size)
    ]
    return keras.tree.map_structure(lambda *parts: ops.concatenate(parts, axis=0), *batches)
