"""Trainers on vectors, such as SimCLR on two halves of images: small enough to compare numbers."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_ssl import losses, trainers
from tests.trainers.small import dense, images

RATE = 0.1


def pairs(count=32):
    """Ready views: two halves of real images, flat."""
    x = images()[0][:count].reshape(count, -1).astype("float32") / 255
    return x[:, :392], x[:, 392:]


class Pairs(trainers.SimCLR):
    """SimCLR on flat views."""

    def check_views(self, views):
        pass


class Sentences(trainers.SelfSupervisedModel):
    """Compares sentences; also returns the embeddings of all words."""

    def call(self, x, training=False):
        return ops.mean(self.encoder(x), axis=1)

    def embed(self, batch, training):
        words = self.encoder(batch.x, training=training)
        return {"words": words, "sentences": ops.mean(words, axis=1)}

    def losses_of(self, embeddings, training):
        z = embeddings["sentences"]
        return {
            "alike": ops.square(ops.matmul(z, ops.transpose(z)) - 1),
            "size": ops.square(embeddings["words"]),
        }


def flat_simclr(network=None):
    return Pairs(
        network or dense(32, 16, inputs=392),
        projector=dense(16, 8, inputs=16),
        loss=losses.NTXent(temperature=0.2),
    )


def trained(make, micro_batch_size, steps=2, optimizer=None, **compile_arguments):
    """A trainer after some steps; equal seeds give equal weights and random numbers."""
    keras.utils.set_random_seed(3)
    trainer = make()
    trainer.compile(
        optimizer=optimizer() if optimizer else keras.optimizers.SGD(RATE),
        micro_batch_size=micro_batch_size,
        **compile_arguments,
    )
    data = tf.data.Dataset.from_tensors((pairs(),)).repeat(steps)
    history = trainer.fit(data, verbose=0).history
    return trainer, history


def assert_equal(a, b, tolerance=1e-6):
    for one, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), rtol=1e-5, atol=tolerance)
