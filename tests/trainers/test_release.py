"""A trainer that nobody holds any more is freed, with its networks and its variables."""

import gc
import weakref

import keras
import pytest
import tensorflow as tf

from tests.trainers.cases import CASES


@pytest.mark.few(1)
@pytest.mark.parametrize("settings", [{}, {"micro_batch_size": 8}], ids=str)
def test_trainer_is_freed_after_fit(settings):
    case = CASES["SimCLR"]
    trainer = case.make()
    trainer.compile("sgd", **settings)
    trainer.fit(case.x()[:16], batch_size=16, verbose=0)
    held = [weakref.ref(part) for part in (trainer, trainer.encoder, trainer.optimizer)]
    del trainer
    gc.collect()
    assert [ref() for ref in held] == [None] * 3


@pytest.fixture(scope="module")
def traced():
    """The graphs that tests of this module left behind; filled by one and read by the next."""
    return []


def test_graphs_of_a_step_are_alive_in_the_test(traced):
    variable, optimizer = keras.Variable([1.0]), keras.optimizers.SGD(0.1)
    optimizer.build([variable])

    @tf.function(autograph=False)
    def step(gradient):
        optimizer.apply([gradient], [variable])

    traced.append(weakref.ref(step.get_concrete_function(tf.ones(1)).graph))
    assert traced[0]() is not None


def test_graphs_of_a_step_are_freed_with_their_test(traced):
    if not traced:
        pytest.skip("needs the test before it, in one process")
    gc.collect()
    assert traced[0]() is None
