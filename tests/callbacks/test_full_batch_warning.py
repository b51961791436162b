import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import trainers
from keras_ssl.optimizers import Rprop

X = np.ones((8, 2), "float32")


class Squares(trainers.SelfSupervisedModel):
    def embed(self, batch, training):
        return {"squares": keras.ops.square(self.encoder(batch.views, training=training))}


def found(optimizer, x=X, augment=None, **arguments):
    """The warnings of two epochs."""
    trainer = Squares(keras.layers.Dense(1), augment)
    trainer.compile(optimizer, run_eagerly=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(x, epochs=2, verbose=0, **arguments)
    return [str(one.message) for one in caught if "one batch of all examples" in str(one.message)]


def test_warns_once_of_mini_batches():
    (message,) = found(Rprop(), batch_size=4)
    assert message.startswith("Rprop") and message.endswith("Received: 2 batches in an epoch")
    scaled = keras.optimizers.LossScaleOptimizer(Rprop())
    assert len(found(scaled, batch_size=4)) == 1


def test_warns_of_batches_whose_number_is_not_known():
    dataset = tf.data.Dataset.from_tensor_slices(X).batch(4, drop_remainder=True)
    (message,) = found(Rprop(), dataset.filter(lambda x: True))
    assert message.endswith("several batches in an epoch")


def test_warns_of_views():
    (message,) = found(Rprop(), augment=keras.layers.GaussianNoise(0.5), batch_size=8)
    assert "whose views differ" in message


@pytest.mark.parametrize("optimizer", [Rprop(), keras.optimizers.SGD()])
def test_does_not_warn_without_reason(optimizer):
    assert not found(optimizer, batch_size=8 if isinstance(optimizer, Rprop) else 4)
