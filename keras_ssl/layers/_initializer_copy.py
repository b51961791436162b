"""Copies of an initializer for several kernels."""

from typing import Any

import keras


def initializer_copy(initializer: Any, number: int) -> Any:
    """Copy an initializer for the `number`-th kernel, from 1, so that no two kernels start equal.

    A given seed is increased by `number - 1`; without one, the copy draws a new seed. Anything but
    a Keras initializer is returned unchanged.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += number - 1
    return type(initializer).from_config(config)
