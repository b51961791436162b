"""Tests of reading and writing variables whose replicas may differ."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("trainers need the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

from keras_ssl.distribute.workers import agree, gather_numbers
from keras_ssl.trainers.engine.tensorflow.replica_values import ReplicaValues


def metric_of(strategy):
    """Return a mean that replica i has updated with i + 0.1."""
    with strategy.scope():
        metric = keras.metrics.Mean()

    @tf.function
    def update():
        def one():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            metric.update_state(tf.cast(number, "float32") + 0.1)

        strategy.run(one)

    update()
    return metric


def test_values_of_each_replica_are_restored(two_replicas):
    metric = metric_of(two_replicas)
    (total, by_replica), _ = values = ReplicaValues(two_replicas, metric.variables).read()
    assert by_replica
    np.testing.assert_array_equal(total, np.float32([0.1, 1.1]))
    other = metric_of(two_replicas)
    other.reset_state()
    ReplicaValues(two_replicas, other.variables).write(values)
    np.testing.assert_array_equal(
        ReplicaValues(two_replicas, other.variables).read()[0][0], np.float32([0.1, 1.1])
    )


def test_sums_are_restored_on_another_number_of_replicas(two_replicas):
    one = tf.distribute.get_strategy()
    two = metric_of(two_replicas)
    single = keras.metrics.Mean()
    ReplicaValues(one, single.variables).write(ReplicaValues(two_replicas, two.variables).read())
    assert float(single.result()) == pytest.approx(0.6)
    two.reset_state()
    ReplicaValues(two_replicas, two.variables).write(ReplicaValues(one, single.variables).read())
    assert float(two.result()) == pytest.approx(0.6)


def test_variables_equal_on_all_replicas_have_one_value(two_replicas):
    with two_replicas.scope():
        layer = keras.layers.Dense(3)
        layer.build((None, 2))
        seed = keras.random.SeedGenerator(7)
    values = ReplicaValues(two_replicas, [*layer.variables, seed.state]).read()
    assert [is_by_replica for _, is_by_replica in values] == [False] * 3
    assert [value.shape for value, _ in values] == [(2, 3), (3,), (2,)]


def test_gathered_numbers_and_errors_of_replicas(two_replicas):
    np.testing.assert_array_equal(gather_numbers(two_replicas, [3, -1]), [[3, -1]] * 2)
    assert agree(two_replicas, lambda: "fine") == "fine"

    def fail():
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        agree(two_replicas, fail)
