"""The functions of `distribute` run under any strategy, with values that identify replicas."""

import keras
import numpy as np
import tensorflow as tf

from keras_ssl import distribute

ROWS = 4  # over all replicas


def data():
    """Rows of all replicas, and their weights in the losses of two replicas."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3)).astype("float32")
    return x, rng.normal(size=(2, ROWS, 3)).astype("float32")


def run_primitives(strategy):
    """The results of the replicas of this process, concatenated along the first axis."""
    x, weights = data()
    rows = ROWS // strategy.num_replicas_in_sync
    with strategy.scope():
        seed = keras.random.SeedGenerator(3)

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            gathered = distribute.all_gather(x)
            weight = tf.gather(weights, distribute.replica_index())
            loss = tf.reduce_sum(weight * gathered**2)
        drawn = distribute.draw_per_example(lambda n: keras.random.normal((n, 2), seed=seed), rows)
        return {
            "gathered": gathered[tf.newaxis],
            "gradient": tape.gradient(loss, x),
            "drawn": drawn,
            "own rows": distribute.local_rows(tf.constant(data()[0]), rows),
            "index": tf.reshape(distribute.replica_index(), (1,)),
            "count": tf.reshape(distribute.replica_count(), (1,)),
        }

    shares = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(x[rows * context.replica_id_in_sync_group :][:rows])
    )
    outputs = tf.function(lambda x: strategy.run(step, args=(x,)))(shares)
    return {
        name: np.concatenate([np.asarray(v) for v in strategy.experimental_local_results(output)])
        for name, output in outputs.items()
    }
