"""Self-supervised learning for Keras 3.

Everything that a saved model may name is imported here, so that `keras.saving.load_model` finds
it after a plain `import keras_ssl`; what is heavy (TensorFlow Datasets, scikit-learn, matplotlib)
is imported where it is used. The command line imports all of it when it has read its arguments,
so that `keras-ssl --help` need not wait for TensorFlow.
"""

import importlib
from typing import Any

from keras_ssl._command import is_command
from keras_ssl.version import __version__

__all__ = [
    "__version__",
    "augment",
    "convert",
    "data",
    "decoding",
    "distribute",
    "from_preset",
    "graphs",
    "layers",
    "losses",
    "networks",
    "optimizers",
    "presets",
    "samplers",
    "save_to_preset",
    "text",
    "visualize",
]


def __getattr__(name: str) -> Any:
    # in a command; and subpackages that on other backends say at first use what they need
    if name in ("from_preset", "save_to_preset"):
        return getattr(importlib.import_module("keras_ssl.presets"), name)
    if name in (*__all__, "callbacks", "evaluate", "trainers"):
        return importlib.import_module(f"keras_ssl.{name}")
    raise AttributeError(f"module 'keras_ssl' has no attribute {name!r}")


if is_command():
    __all__ += ["callbacks", "evaluate", "trainers"]
else:
    import keras

    from keras_ssl import (
        augment,
        convert,
        data,
        decoding,
        distribute,
        graphs,
        layers,
        losses,
        networks,
        optimizers,
        presets,
        samplers,
        text,
        visualize,
    )
    from keras_ssl.presets import from_preset, save_to_preset

    if keras.backend.backend() in ("tensorflow", "jax"):
        from keras_ssl import callbacks, evaluate, trainers

        __all__ += ["callbacks", "evaluate", "trainers"]
