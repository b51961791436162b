"""Self-supervised learning for Keras 3.

Everything that a saved model may name is imported here, so that `keras.saving.load_model` finds
it after a plain `import keras_ssl`; what is heavy (TensorFlow Datasets, scikit-learn, matplotlib)
is imported where it is used.
"""

import importlib
from typing import Any

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

if keras.backend.backend() in ("tensorflow", "jax"):
    from keras_ssl import callbacks, evaluate, trainers

    __all__ += ["callbacks", "evaluate", "trainers"]
else:

    def __getattr__(name: str) -> Any:
        # these rooms need one of the two, and on another backend say so at first use
        if name in ("callbacks", "evaluate", "trainers"):
            return importlib.import_module(f"keras_ssl.{name}")
        raise AttributeError(f"module 'keras_ssl' has no attribute {name!r}")
