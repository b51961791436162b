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
    callbacks,
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
    trainers,
    visualize,
)
from keras_ssl.presets import from_preset, save_to_preset
from keras_ssl.version import __version__

__all__ = [
    "__version__",
    "augment",
    "callbacks",
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
    "trainers",
    "visualize",
]

if keras.backend.backend() == "tensorflow":
    from keras_ssl import evaluate

    __all__ += ["evaluate"]
else:

    def __getattr__(name: str) -> Any:
        # this room imports TensorFlow, and on another backend says at first use what needs it
        if name == "evaluate":
            return importlib.import_module("keras_ssl.evaluate")
        raise AttributeError(f"module 'keras_ssl' has no attribute {name!r}")
