"""A call of `compile` that fails changes nothing."""

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.cases import CASES, each_shape
from tests.trainers.runs import make

FAILING = {
    "loss_weights": ({"loss_weights": {"no_such": 1.0}}, "no_such"),
    "rates": ({"learning_rate_multipliers": {"no such": 0.5}}, "matches none"),
    "decay": ({"exclude_from_weight_decay": ["no such"]}, "matches none"),
}


def linear():
    class Square(trainers.SelfSupervisedModel):
        def compute_losses(self, batch, training):
            return {"square": keras.ops.square(self.encoder(batch.x))}

    trainer = Square(keras.layers.Dense(2))
    trainer.compile(keras.optimizers.SGD(0.1), trainers.OnlineProbe(2), {"square": 2.0})
    trainer.fit(np.ones((8, 3), "float32"), np.arange(8) % 2, verbose=0)
    return trainer


@pytest.mark.few(1)
@pytest.mark.parametrize("way", [*FAILING, "micro batches"])
def test_a_failed_compile_leaves_the_trainer_as_it_was(way):
    arguments, message = FAILING.get(way, ({"micro_batch_size": 2}, "micro_batch_size"))
    x, y = np.ones((8, 3), "float32"), np.arange(8) % 2
    trainer, other = linear(), linear()
    other.set_weights(trainer.get_weights())
    optimizer, probe = trainer.optimizer, trainer.probe
    with pytest.raises(ValueError, match=message):
        trainer.compile(keras.optimizers.Adam(1.0), **arguments)
    assert trainer.optimizer is optimizer and trainer.optimizers == {"main": optimizer}
    assert trainer.probe is probe and trainer.loss_weights == {"square": 2.0}
    for one in (trainer, other):
        one.fit(x, y, shuffle=False, verbose=0)
    for mine, theirs in zip(trainer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert int(optimizer.iterations) == 2


def test_a_first_compile_that_fails_leaves_the_trainer_not_compiled():
    trainer = CASES["SimCLR"].make()
    trainer.build((None, 28, 28, 1))
    with pytest.raises(ValueError, match="no_such"):
        trainer.compile("sgd", loss_weights={"no_such": 1.0})
    assert not trainer.compiled and trainer.optimizer is None
    trainer.compile("sgd")
    assert trainer.compiled


@each_shape
def test_every_trainer_keeps_its_optimizers(name):
    trainer = make(name)
    case = CASES[name]

    def spec(one):
        return keras.KerasTensor((32, *one.shape[1:]), str(one.dtype))

    x = keras.tree.map_structure(spec, case.first(32))
    trainer.build_step(x, None if case.y() is None else spec(case.y()))
    before = dict(trainer.optimizers)
    with pytest.raises(ValueError, match="no_such"):
        trainer.compile(case.sgd(), loss_weights={"no_such": 1.0})
    assert trainer.optimizers == before and trainer.loss_weights == {}


def test_optimizers_of_one_name_are_two():
    case = CASES["GAN"]
    trainer = case.make()
    trainer.compile({"generator": "adam", "discriminator": "adam"})
    first, second = trainer.optimizers.values()
    assert first is not second
