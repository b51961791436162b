"""A float16 overflow on any replica skips the step on all."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.distribute needs the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

from keras_ssl import trainers
from keras_ssl.distribute.replicas import skip_overflow_everywhere
from tests.trainers.small import dense


class Squares(trainers.SelfSupervisedModel):
    """The mean square of the encoder's output."""

    def embed(self, batch, training):
        return {"square": keras.ops.square(keras.ops.cast(self.encoder(batch.x), "float32"))}


@pytest.fixture
def mixed_float16(set_dtype_policy):
    set_dtype_policy("mixed_float16")


@pytest.mark.parametrize("huge", [0, 1])
def test_a_step_that_overflowed_on_one_replica_is_skipped_on_all(huge, two_replicas, mixed_float16):
    with two_replicas.scope():
        trainer = Squares(dense(2, inputs=3))
        trainer.compile(keras.optimizers.SGD(0.1))
    x = np.ones((8, 3), "float32")
    trainer.fit(x, batch_size=8, verbose=0)
    assert int(np.asarray(trainer.optimizer.iterations)) == 1  # nothing overflows by itself
    before = [np.asarray(weight) for weight in trainer.trainable_weights]
    x[4 * huge : 4 * huge + 4] = 100.0  # the loss is finite; its gradient times 2^15 is not
    history = trainer.fit(x, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"][0])
    for weight, old in zip(trainer.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), old)
    assert int(np.asarray(trainer.optimizer.iterations)) == 1
    assert float(np.asarray(trainer.optimizer.dynamic_scale)) == 2.0**14


def test_sparse_gradients(two_replicas):
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())

    def step():
        rank = tf.distribute.get_replica_context().replica_id_in_sync_group
        value = tf.where(rank == 1, float("inf"), 1.0)
        sparse = tf.IndexedSlices(tf.fill([2, 3], value), tf.constant([4, 0]), tf.constant([5, 3]))
        found = skip_overflow_everywhere(optimizer, [None, sparse, tf.ones(2)])
        assert found[0] is None and isinstance(found[1], tf.IndexedSlices)
        return tf.convert_to_tensor(found[1]), found[2]

    for sparse, dense_gradient in zip(
        *map(two_replicas.experimental_local_results, two_replicas.run(tf.function(step))),
        strict=True,
    ):
        assert not np.all(np.isfinite(sparse))
        np.testing.assert_array_equal(dense_gradient, 1)


def test_other_optimizers_and_single_replicas_are_not_changed():
    gradients = [tf.constant([np.inf])]
    for optimizer in ("sgd", keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())):
        assert skip_overflow_everywhere(optimizer, gradients) is gradients
