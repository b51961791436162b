"""Devices to train on, on either backend."""

from contextlib import nullcontext
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.distribute.strategies import STRATEGIES, strategy

_ON_JAX = ("auto", "one_device")


class OneReplica:
    """What stands for a strategy of `tf.distribute` on JAX, where the batch is global."""

    num_replicas_in_sync = 1

    def scope(self) -> Any:
        """Return the scope to make variables under."""
        return nullcontext()


def devices(name: str = "auto", replicas: int | None = None, seed: int | None = None) -> Any:
    """Choose the devices to train on, for scripts that run on both backends.

    On TensorFlow it is `distribute.strategy`. On JAX `"auto"` shares each batch among all devices,
    by `keras.distribution.DataParallel` if there are several, and `"one_device"` takes the first.

    Args:
        name: as in `distribute.strategy`; `"auto"` or `"one_device"` on JAX.
        replicas: as in `distribute.strategy`; `None` on JAX.
        seed: passed to `keras.utils.set_random_seed`. `None` leaves the seeds unchanged.

    Returns:
        The strategy, and on JAX what stands for it: `scope()` does nothing there.

    Raises:
        ValueError: as `distribute.strategy`, or if JAX has no such devices.

    Example:

    >>> import keras
    >>> from keras_ssl import distribute
    >>> devices = distribute.devices("auto", seed=0)
    >>> with devices.scope():
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    """
    checks.training_backend()
    if keras.backend.backend() != "jax":
        return strategy(name, replicas, seed=seed)
    if name not in STRATEGIES:
        raise ValueError(f"`name` must be one of {STRATEGIES}. Received: name={name!r}")
    if name not in _ON_JAX or replicas is not None:
        raise ValueError(
            f"On the JAX backend the devices are one of {_ON_JAX}, and all that there are share a "
            "batch: for others call `keras.distribution.set_distribution` yourself, or set "
            "KERAS_BACKEND=tensorflow before Keras is imported. "
            f"Received: name={name!r}, replicas={replicas}"
        )
    if name == "auto" and len(keras.distribution.list_devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    if seed is not None:
        keras.utils.set_random_seed(seed)
    return OneReplica()
