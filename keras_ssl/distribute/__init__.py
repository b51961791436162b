"""Training on several devices, by `tf.distribute` and, on JAX, `keras.distribution`."""

from keras_ssl.distribute.device_choice import devices
from keras_ssl.distribute.replicas import (
    all_gather,
    all_reduce_sum,
    draw_per_example,
    local_rows,
    replica_count,
    replica_index,
)
from keras_ssl.distribute.strategies import STRATEGIES, strategy
from keras_ssl.distribute.transformer_parallel import TransformerParallel
from keras_ssl.distribute.worker_batches import shard_batches
from keras_ssl.distribute.workers import is_chief, on_chief

__all__ = [
    "STRATEGIES",
    "TransformerParallel",
    "all_gather",
    "all_reduce_sum",
    "devices",
    "draw_per_example",
    "is_chief",
    "local_rows",
    "on_chief",
    "replica_count",
    "replica_index",
    "shard_batches",
    "strategy",
]
