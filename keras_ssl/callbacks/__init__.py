"""Callbacks for `fit`."""

import importlib
from typing import Any

import keras

from keras_ssl.callbacks.backup_and_resume import BackupAndResume
from keras_ssl.callbacks.momentum_scheduler import MomentumScheduler
from keras_ssl.callbacks.stop_on_nan import StopOnNaN

if keras.backend.backend() == "tensorflow":
    from keras_ssl.callbacks.collapse_monitor import CollapseMonitor
    from keras_ssl.callbacks.knn_callback import KNNCallback
    from keras_ssl.callbacks.sample_grid import SampleGrid
else:
    _WITH_TENSORFLOW = {
        "CollapseMonitor": "collapse_monitor",
        "KNNCallback": "knn_callback",
        "SampleGrid": "sample_grid",
    }

    def __getattr__(name: str) -> Any:
        # these import TensorFlow, and on another backend say at first use what needs it
        if name in _WITH_TENSORFLOW:
            module = importlib.import_module(f"keras_ssl.callbacks.{_WITH_TENSORFLOW[name]}")
            return getattr(module, name)
        raise AttributeError(f"module 'keras_ssl.callbacks' has no attribute {name!r}")


__all__ = [
    "BackupAndResume",
    "CollapseMonitor",
    "KNNCallback",
    "MomentumScheduler",
    "SampleGrid",
    "StopOnNaN",
]
