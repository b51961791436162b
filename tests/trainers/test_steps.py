"""How trainers tell the step that they are at."""

import keras
import numpy as np

from keras_ssl import trainers
from keras_ssl.trainers.steps import is_before, steps_taken


class Model(trainers.SelfSupervisedModel):
    def embed(self, batch, training):
        return {"error": self.encoder(batch.x)}


def test_counts_the_optimizers_steps():
    trainer = Model(keras.layers.Dense(1))
    assert int(steps_taken(trainer)) == 0 and bool(is_before(trainer, 1))
    trainer.compile("sgd")
    trainer.fit(np.ones((12, 2), "float32"), batch_size=4, verbose=0)
    assert int(steps_taken(trainer)) == 3
    assert bool(is_before(trainer, 4)) and not bool(is_before(trainer, 3))
    assert is_before(trainer, 0) is False
