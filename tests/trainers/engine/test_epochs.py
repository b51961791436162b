"""Epochs that can start in the middle. What they are for is tested in tests/callbacks."""

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


def test_keras_still_has_the_private_names_that_the_package_touches():
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
    """Notes what it is told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def before_reading(self):
        self.told.append("read")

    def enter_epoch(self):
        self.told.append("epoch")

    def after_step(self):
        self.told.append("step")


def epoch_of(iterator):
    """The numbers of an epoch, as Keras goes through it."""
    seen = []
    with iterator.catch_stop_iteration():
        for first, _, batches in iterator:
            seen.append((first, next(batches).numpy().tolist()))
    return seen


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("known", [True, False])
def test_the_rest_of_the_epochs_is_that_of_keras(known):
    def make():
        tf.random.set_seed(1)
        dataset = tf.data.Dataset.range(10).shuffle(10).batch(3)
        return keras_iterator(dataset if known else dataset.filter(lambda x: True))

    expected = [epoch_of(iterator) for iterator in [make()] for _ in range(4)]
    iterator, keeper = make(), Keeper()
    epochs = Epochs(iterator, None, keeper)
    epochs.start_at(Position(epoch=2, step=3, counts=[4, 4]))
    assert epoch_of(iterator) == expected[2][3:]
    assert keeper.told == ["read", "epoch", "step"]
    assert epochs.counts == [4, 4, 4]
    assert epoch_of(iterator) == expected[3]
    assert epochs.counts == [4, 4, 4, 4]


def test_data_that_has_become_shorter_is_refused():
    iterator = keras_iterator(tf.data.Dataset.range(4).filter(lambda x: True).batch(2))
    Epochs(iterator, None, Keeper()).start_at(Position(epoch=0, step=3, counts=[]))
    with pytest.raises(ValueError, match="ran out of batches before step 3"):
        next(iter(iterator))


def test_without_a_keeper_keras_is_left_alone():
    from tests.callbacks.interrupted import compiled, examples

    model = compiled()
    history = model.fit(*examples(), batch_size=8, epochs=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert model._keeper is None and model._epochs is None
