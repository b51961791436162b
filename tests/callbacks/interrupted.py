"""A small model with every kind of state, and ways to interrupt its training."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_ssl.trainers.engine.fit import DistributedFit


class Everything(DistributedFit, keras.Model):
    """Regression with dropout, batch normalisation, a queue and a moving average of weights.

    With `global_noise`, it also draws from Keras' global seed generator, which replicas cannot do.
    """

    def __init__(self, width=4, global_noise=True):
        super().__init__()
        self.global_noise = global_noise
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
        if training and self.global_noise:
            h += keras.random.normal(ops.shape(h), stddev=0.1)
        y = self.out(h + ops.mean(self.queue))
        if training:
            self.teacher.assign(0.9 * self.teacher + 0.1 * self.out.kernel)
        return y


def compiled(optimizer=None, steps_per_execution=1, width=4, seed=3, global_noise=True):
    keras.utils.set_random_seed(seed)
    model = Everything(width, global_noise)
    model.compile(
        optimizer or keras.optimizers.Adam(1e-2),
        loss="mse",
        metrics=["mae"],
        steps_per_execution=steps_per_execution,
    )
    return model


@functools.cache
def _traced_once(make_optimizer, steps_per_execution, strategy):
    """A built model without global noise, and the initial values of its variables."""
    with (strategy or tf.distribute.get_strategy()).scope():
        optimizer = make_optimizer and make_optimizer()
        model = compiled(optimizer, steps_per_execution, global_noise=False)
        x, y = keras.KerasTensor((4, 5)), keras.KerasTensor((4, 1))
        model._symbolic_build(data_batch=(x, y, None))
    flat = [one for group in model.training_variables().values() for one in group]
    return model, [(one, np.array(one)) for one in flat]


def restarted(make_optimizer=None, steps_per_execution=1, strategy=None, seed=3):
    """The model as a new process would make it.

    It is one object with its initial values put back, so that its step is traced once for all
    tests. Where it matters that the object is new, tests use `compiled`.
    """
    model, initial = _traced_once(make_optimizer, steps_per_execution, strategy)
    keras.utils.set_random_seed(seed)
    for variable, value in initial:
        variable.assign(value)
    model._eval_epoch_iterator = None  # an interrupted `fit` leaves its own behind
    return model


def examples(count=24):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 5)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def dataset(count=24):
    return tf.data.Dataset.from_tensor_slices(examples(count))


class InterruptAt(keras.callbacks.Callback):
    """Raise an error at the end of a step, or in the middle of validation."""

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
    """All variables that training changes, as arrays by name."""
    return {
        f"{name} {number} {one.path}": np.array(one)
        for name, group in model.training_variables().items()
        for number, one in enumerate(group)
    }


def assert_same_bits(one, other):
    """Compare two models, or what `state` returned for them."""
    a, b = (found if isinstance(found, dict) else state(found) for found in (one, other))
    assert len(a) == len(b) and any("optimizer" in name for name in a)
    for (name, first), second in zip(a.items(), b.values(), strict=True):
        assert first.dtype == second.dtype
        assert first.tobytes() == second.tobytes(), name
