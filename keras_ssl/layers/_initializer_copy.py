"""One initializer for many kernels."""

from typing import Any

import keras


def initializer_copy(initializer: Any, number: int) -> Any:
    """Return an initializer of the same settings and another seed, so no two kernels start equal.

    Args:
        initializer: a Keras initializer; anything else is returned as it is.
        number: of the kernel, from 1. It is added to the seed, less 1, if one was given.

    Returns:
        The copy.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += number - 1
    return type(initializer).from_config(config)
