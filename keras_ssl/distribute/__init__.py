"""Training on many devices: the only folder that knows `tf.distribute`."""

from keras_ssl.distribute.replicas import (
    all_gather,
    draw_per_example,
    local_rows,
    replica_count,
    replica_index,
)

__all__ = ["all_gather", "draw_per_example", "local_rows", "replica_count", "replica_index"]
