"""Tests of epochs that can start in the middle; resuming itself is tested in tests/callbacks."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("trainers need the TensorFlow backend", allow_module_level=True)

import tensorflow as tf

from keras_ssl.trainers.engine.epochs import EpochKeeper, Epochs, Position


def keras_iterator(dataset, **arguments):
    from keras.src.backend.tensorflow.trainer import TFEpochIterator

    strategy = tf.distribute.get_strategy()
    return TFEpochIterator(x=dataset, distribute_strategy=strategy, **arguments)


def test_keras_has_the_private_names_that_epochs_use():
    iterator = keras_iterator(tf.data.Dataset.range(4).batch(2))
    assert iterator._steps_seen == 0 and iterator._num_batches == 2
    assert iterator.data_adapter.num_batches == 2
    for name in ("_get_metrics_result_or_logs", "_symbolic_build"):
        assert callable(getattr(keras.Model, name))
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    assert not model._compile_metrics.built and not model._compile_loss.built

    # Keras calls the generator on the instance
    iterator._enumerate_iterator = lambda: iter([(0, 0, "ours")])
    assert next(iter(iterator)) == (0, 0, "ours")


class Keeper(EpochKeeper):
    """Records its calls."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def before_reading(self):
        self.calls.append("read")

    def enter_epoch(self):
        self.calls.append("epoch")

    def after_step(self):
        self.calls.append("step")


def epoch_of(iterator):
    """Return the first step and the batch of each execution of an epoch, as Keras iterates."""
    seen = []
    with iterator.catch_stop_iteration():
        for first, _, batches in iterator:
            seen.append((first, next(batches).numpy().tolist()))
    return seen


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("known", [True, False])
def test_batches_after_the_start_are_those_of_keras(known):
    def make():
        tf.random.set_seed(1)
        dataset = tf.data.Dataset.range(10).shuffle(10).batch(3)
        return keras_iterator(dataset if known else dataset.filter(lambda x: True))

    expected = [epoch_of(iterator) for iterator in [make()] for _ in range(4)]
    iterator, keeper = make(), Keeper()
    epochs = Epochs(iterator, None, keeper)
    epochs.start_at(Position(epoch=2, step=3, counts=[4, 4]))
    assert epoch_of(iterator) == expected[2][3:]
    assert keeper.calls == ["read", "epoch", "step"]
    assert epochs.counts == [4, 4, 4]
    assert epoch_of(iterator) == expected[3]
    assert epochs.counts == [4, 4, 4, 4]


def test_data_that_became_shorter_is_rejected():
    iterator = keras_iterator(tf.data.Dataset.range(4).filter(lambda x: True).batch(2))
    Epochs(iterator, None, Keeper()).start_at(Position(epoch=0, step=3, counts=[]))
    with pytest.raises(ValueError, match="ran out of batches before step 3"):
        next(iter(iterator))


@pytest.mark.full
def test_fit_without_a_keeper_trains():
    from tests.callbacks.interrupted import compiled, examples

    model = compiled()
    history = model.fit(*examples(), batch_size=8, epochs=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert model._keeper is None and model._epochs is None
