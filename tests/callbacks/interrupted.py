"""A small model of every kind of state, and ways to interrupt its training."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_ssl.trainers.engine.fit import DistributedFit


class Everything(DistributedFit, keras.Model):
    """Regression with dropout, batch normalisation, a queue and a moving average of the weights."""

    def __init__(self, width=4):
        super().__init__()
        self.hidden = keras.layers.Dense(width, "relu")
        self.norm = keras.layers.BatchNormalization()
        self.drop = keras.layers.Dropout(0.3)
        self.out = keras.layers.Dense(1)
        self.queue = self.add_weight(shape=(3, width), trainable=False, name="queue")
        self.teacher = self.add_weight(shape=(width, 1), trainable=False, name="teacher")

    def call(self, x, training=False):
        h = self.drop(self.norm(self.hidden(x), training=training), training=training)
        if training:
            self.queue.assign(ops.concatenate([self.queue[1:], ops.mean(h, 0, keepdims=True)]))
        if training and self.distribute_strategy.num_replicas_in_sync == 1:
            # from Keras' global seed generator, which replicas do not find
            h += keras.random.normal(ops.shape(h), stddev=0.1)
        y = self.out(h + ops.mean(self.queue))
        if training:
            self.teacher.assign(0.9 * self.teacher + 0.1 * self.out.kernel)
        return y


def compiled(optimizer=None, steps_per_execution=1, width=4, seed=3):
    keras.utils.set_random_seed(seed)
    model = Everything(width)
    model.compile(
        optimizer or keras.optimizers.Adam(1e-2),
        loss="mse",
        metrics=["mae"],
        steps_per_execution=steps_per_execution,
    )
    return model


def examples(count=24):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 5)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def dataset(count=24):
    return tf.data.Dataset.from_tensor_slices(examples(count))


class InterruptAt(keras.callbacks.Callback):
    """Raise when a step of an epoch ends, or in the middle of its validation."""

    def __init__(self, epoch, step=None):
        super().__init__()
        self.at = epoch, step
        self.epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch, logs=None):
        if (self.epoch, None) == self.at and batch == 1:
            raise KeyboardInterrupt


def state(model):
    """All that training changes, as arrays by name."""
    return {
        f"{name} {number} {one.path}": np.array(one)
        for name, group in model.training_variables().items()
        for number, one in enumerate(group)
    }


def assert_same_bits(model, other):
    a, b = state(model), state(other)
    assert len(a) == len(b)
    for (name, one), two in zip(a.items(), b.values(), strict=True):
        assert one.dtype == two.dtype
        assert one.tobytes() == two.tobytes(), name
