"""Callbacks for `fit`."""

from keras_ssl.callbacks.backup_and_resume import BackupAndResume
from keras_ssl.callbacks.collapse_monitor import CollapseMonitor
from keras_ssl.callbacks.knn_callback import KNNCallback
from keras_ssl.callbacks.momentum_scheduler import MomentumScheduler
from keras_ssl.callbacks.sample_grid import SampleGrid
from keras_ssl.callbacks.stop_on_nan import StopOnNaN

__all__ = [
    "BackupAndResume",
    "CollapseMonitor",
    "KNNCallback",
    "MomentumScheduler",
    "SampleGrid",
    "StopOnNaN",
]
