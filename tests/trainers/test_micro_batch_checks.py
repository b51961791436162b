"""What `micro_batch_size` refuses, before a step is taken."""

import keras
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import distribute, trainers
from tests.trainers.flat_views import Pairs, Sentences, flat_simclr, pairs
from tests.trainers.small import dense


def test_embed_that_exchanges_tensors_between_replicas_is_refused(two_replicas):
    class Centred(Pairs):
        def embed(self, batch, training):
            embeddings = super().embed(batch, training)
            centre = distribute.all_reduce_sum(ops.mean(embeddings["z_i"], axis=0))
            return {**embeddings, "z_i": embeddings["z_i"] - centre}

    with two_replicas.scope():
        trainer = Centred(dense(16, inputs=392), projector=dense(16, 8, inputs=16))
        trainer.compile("sgd", micro_batch_size=4)
    with pytest.raises(ValueError, match="in `losses_of`"):
        trainer.fit(pairs(), batch_size=32, verbose=0)


def test_views_stacked_in_one_tensor_are_refused():
    class Stacked(keras.layers.Layer):
        def call(self, x, training=None):
            return ops.concatenate([x, -x])

    class Halves(Sentences):
        def call(self, x, training=False):
            return self.encoder(x)

        def embed(self, batch, training):
            return {"sentences": self.encoder(batch.views), "words": batch.x}

    trainer = Halves(dense(16, inputs=392), augment=Stacked())
    trainer.compile("sgd", micro_batch_size=8)
    with pytest.raises(ValueError, match=r"separate tensors.*\(64, 392\) in `views`"):
        trainer.train_on_batch(pairs()[0])


def test_fewer_arrays_than_a_batch_are_refused():
    trainer = flat_simclr()
    trainer.compile("sgd", micro_batch_size=8)
    with pytest.raises(ValueError, match=r"full batches.*32 examples and batch_size=64"):
        trainer.fit(pairs(), batch_size=64, verbose=0)


@pytest.mark.parametrize("size, error", [(0, ValueError), (-4, ValueError), (True, TypeError),
                                         (2.0, TypeError), ("8", TypeError)])  # fmt: skip
def test_bad_size_is_refused(size, error):
    with pytest.raises(error, match="micro_batch_size"):
        flat_simclr().compile("sgd", micro_batch_size=size)


def test_size_that_does_not_divide_the_batch_is_refused():
    trainer = flat_simclr()
    trainer.compile("sgd", micro_batch_size=12)
    with pytest.raises(ValueError, match=r"divide.*micro_batch_size=12 and 32"):
        trainer.train_on_batch(pairs())
    assert int(trainer.optimizer.iterations) == 0


def test_batches_of_unknown_size_are_refused():
    trainer = flat_simclr()
    trainer.compile("sgd", micro_batch_size=8)
    data = tf.data.Dataset.from_tensor_slices((pairs(),)).batch(32)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        trainer.fit(data, verbose=0)


def test_method_that_does_not_tell_what_it_embeds_is_refused():
    class Whole(trainers.SimCLR):
        def compute_losses(self, batch, training):
            return super().compute_losses(batch, training)

    with pytest.raises(ValueError, match=r"`embed` and `losses_of`.*Whole"):
        Whole(dense(16, inputs=392)).compile("sgd", micro_batch_size=8)


@pytest.mark.parametrize("wrong", ["mean", "number", "nothing"])
def test_embeddings_without_a_row_an_example_are_refused(wrong):
    class Wrong(Pairs):
        def embed(self, batch, training):
            z = super().embed(batch, training)["z_i"]
            return {"z": {"mean": ops.mean(z, axis=0), "number": 3.0, "nothing": None}[wrong]}

        def losses_of(self, embeddings, training):
            return {"size": ops.ones((4,))}

    trainer = Wrong(dense(16, inputs=392), projector=dense(16, 8, inputs=16))
    trainer.compile("sgd", micro_batch_size=4)
    with pytest.raises(ValueError, match=r"one row per example.*'z'"):
        trainer.train_on_batch(pairs())
