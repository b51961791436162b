import keras
import numpy as np
import pytest

from keras_ssl import trainers
from keras_ssl.callbacks import MomentumScheduler
from keras_ssl.optimizers import HeavyBall, Lookahead

X, Y = np.ones((4, 1), "float32"), np.zeros((4, 1), "float32")
MOMENTA = [0.5, 0.75, 0.75, 0.25]


class Squares(trainers.SelfSupervisedModel):
    def embed(self, batch, training):
        return {"squares": keras.ops.square(self.encoder(batch.x, training=training))}


def dense():
    return keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")


def keras_model(optimizer):
    model = keras.Sequential([keras.Input((1,)), dense()])
    model.compile(optimizer, "mse")
    return model


def trainer(optimizer):
    model = Squares(dense())
    model.compile(optimizer)
    return model


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (keras_model, keras.optimizers.SGD(0.125, 0.9)),
        (trainer, keras.optimizers.SGD(0.125, 0.9)),
        (trainer, Lookahead(HeavyBall(0.125, 0.0), sync_period=100)),
    ],
    ids=["SGD", "SGD in a trainer", "HeavyBall"],
)
def test_steps_are_those_of_the_schedule(make, optimizer):
    model = make(optimizer)
    callback = MomentumScheduler(lambda epoch: MOMENTA[epoch])
    history = model.fit(X, Y, epochs=4, verbose=0, callbacks=[callback])
    assert history.history["momentum"] == MOMENTA
    w, velocity = 1.0, 0.0  # of the loss w²
    for momentum in MOMENTA:
        velocity = momentum * velocity + 2 * w
        w -= 0.125 * velocity
    assert float(model.get_weights()[0][0, 0]) == pytest.approx(w, rel=1e-6)


def test_optimizers_without_a_momentum_that_can_be_set():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 2, 0.75)
    for optimizer in ("adam", keras.optimizers.SGD(0.1), HeavyBall(0.1, schedule)):
        with pytest.raises(ValueError, match=r"needs an optimizer with a momentum.*Received"):
            keras_model(optimizer).fit(X, Y, verbose=0, callbacks=[MomentumScheduler(schedule)])


def test_bad_schedules():
    with pytest.raises(TypeError, match="`schedule` must be a function of the epoch"):
        MomentumScheduler(0.9)
    with pytest.raises(ValueError, match=r"`schedule\(0\)` must be a number in \[0, 1\)"):
        callback = MomentumScheduler(lambda epoch: 1.0)
        keras_model(HeavyBall()).fit(X, Y, verbose=0, callbacks=[callback])
