"""Training on many devices: the only folder that knows `tf.distribute`."""

from keras_ssl.distribute.replicas import (
    all_gather,
    all_reduce_sum,
    draw_per_example,
    local_rows,
    replica_count,
    replica_index,
)
from keras_ssl.distribute.tpu_obstacles import (
    TPUObstacle,
    function_tpu_obstacles,
    tpu_obstacles,
)

__all__ = [
    "TPUObstacle",
    "all_gather",
    "all_reduce_sum",
    "draw_per_example",
    "function_tpu_obstacles",
    "local_rows",
    "replica_count",
    "replica_index",
    "tpu_obstacles",
]
