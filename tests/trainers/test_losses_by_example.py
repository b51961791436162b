"""Micro-batches where losses are by example: one pass, the gradients of the parts added up."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import trainers
from tests.trainers.flat_views import Pairs, assert_equal, pairs, trained
from tests.trainers.small import dense


class ByExample(Pairs):
    """A loss by example, which counts how often it embeds; two layers add losses of their own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.unused = self.add_weight(name="unused", shape=(3,), initializer="ones")
        self.calls = 0

    def embed(self, batch, training):
        self.calls += 1
        embeddings = super().embed(batch, training)
        z_i, z_j = embeddings["z_i"], embeddings["z_j"]
        return {
            "apart": ops.square(z_i - z_j),
            "size": ops.mean(ops.abs(z_i), axis=-1),
            "representation": z_i,
        }

    def losses_of(self, embeddings, training):
        return embeddings


class ByExampleInOnePass(ByExample):
    losses_of = trainers.SelfSupervisedModel.losses_of


def by_example(of=ByExampleInOnePass):
    regularized = keras.layers.Dense(
        16,
        kernel_regularizer=keras.regularizers.L2(0.1),
        activity_regularizer=keras.regularizers.L2(0.1),
    )
    network = keras.Sequential([keras.layers.Dense(32, "relu"), regularized])
    return of(network, projector=dense(16, 8, inputs=16))


@pytest.mark.few(1)
@pytest.mark.parametrize("settings", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_losses_by_example_give_the_weights_of_the_plain_step(settings):
    weights = {"loss_weights": {"size": 3.0}}
    plain, plain_logs = trained(by_example, None, **weights)
    cached, cached_logs = trained(by_example, 8, **weights, **settings)
    assert_equal(plain, cached, tolerance=1e-5)
    for name, values in plain_logs.items():
        assert cached_logs[name] == pytest.approx(values, rel=1e-5)
    np.testing.assert_array_equal(cached.unused, np.ones(3))


def test_losses_by_example_embed_once():
    counts = []
    for of in (ByExample, ByExampleInOnePass):
        trainer = by_example(of)
        trainer.compile("sgd", micro_batch_size=8, run_eagerly=True)
        trainer.train_on_batch(pairs())
        trainer.calls = 0
        trainer.train_on_batch(pairs())
        counts.append(trainer.calls)
    assert counts == [8, 4]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_losses_by_example_in_mixed_precision(policy, set_dtype_policy):
    set_dtype_policy(policy)
    plain, _ = trained(by_example, None)
    cached, _ = trained(by_example, 8)
    assert_equal(plain, cached, tolerance=2e-3)


def test_losses_by_example_of_two_replicas_equal_one(two_replicas):
    one, one_logs = trained(by_example, 8)
    with two_replicas.scope():
        two, two_logs = trained(by_example, 4)
    assert_equal(one, two)
    assert two_logs["loss"] == pytest.approx(one_logs["loss"], rel=1e-5)
