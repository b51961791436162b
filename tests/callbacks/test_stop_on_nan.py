import keras
import numpy as np
import pytest

from keras_ssl.callbacks import StopOnNaN

X = np.ones((40, 2), "float32")


class TwoLosses(keras.Model):
    """A model whose loss `kl` has a given value from a given step on."""

    def __init__(self, step, value):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.step, self.value = step, value
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.trackers = {name: keras.metrics.Mean(name) for name in ("loss", "kl", "rebuild")}

    def call(self, x):
        return self.dense(x)

    @property
    def metrics(self):
        return list(self.trackers.values())

    def train_step(self, data):
        self(keras.utils.unpack_x_y_sample_weight(data)[0])
        self.seen.assign_add(1)
        kl = keras.ops.where(self.seen >= self.step, self.value, 1.0)
        for name, value in (("loss", kl + 2.0), ("kl", kl), ("rebuild", 2.0)):
            self.trackers[name].update_state(value)
        return self.get_metrics_result()


def fit(model, callbacks=(), **compiled):
    model.compile(**compiled)
    model.fit(X, batch_size=4, epochs=3, verbose=0, callbacks=[StopOnNaN(), *callbacks])


class ActsOnBatches(keras.callbacks.Callback):
    """A callback that is not async-safe: makes Keras wait for every step."""

    def on_train_batch_end(self, batch, logs=None):
        pass


@pytest.mark.few(6)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("step", "epoch"), [(1, 1), (7, 1), (10, 1), (11, 2), (26, 3), (30, 3)])
@pytest.mark.parametrize("others", [[], [ActsOnBatches()]], ids=["in a thread", "at once"])
def test_names_the_loss_the_step_and_the_epoch(step, epoch, value, others):
    message = rf"^kl became NaN or infinite at step {step} \(epoch {epoch}\)"
    with pytest.raises(FloatingPointError, match=message):
        fit(TwoLosses(step, value), others)


@pytest.mark.parametrize(
    ("step", "steps", "epoch"),
    [(1, "steps 1 to 4", 1), (6, "steps 5 to 8", 1), (10, "steps 9 to 10", 1), (15, "15", 2)],
)
def test_several_steps_in_one_execution(step, steps, epoch):
    steps = "steps 15 to 18" if step == 15 else steps
    with pytest.raises(FloatingPointError, match=rf"at {steps} \(epoch {epoch}\)"):
        fit(TwoLosses(step, np.nan), steps_per_execution=4)


def test_a_model_with_a_single_loss():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(FloatingPointError, match=r"^loss became NaN"):
        model.fit(X * np.nan, X[:, :1], verbose=0, callbacks=[StopOnNaN()])


def test_training_stops_at_once():
    model = TwoLosses(3, np.nan)
    with pytest.raises(FloatingPointError):
        fit(model, [ActsOnBatches()])
    assert int(model.seen) == 3


def test_a_metric_may_be_nan_while_the_losses_are_not():
    callback = StopOnNaN()
    callback.on_train_batch_end(0, {"loss": 1.0, "precision": float("nan")})
    callback.on_train_batch_end(0, None)


def test_every_error_names_the_earliest_batch():
    callback = StopOnNaN()
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    bad = {"loss": float("nan")}
    for batch in (4, 6):
        with pytest.raises(FloatingPointError, match="step 5 "):
            callback.on_train_batch_end(batch, bad)
    callback.on_train_begin()
    with pytest.raises(FloatingPointError, match="step 1 "):
        callback.on_train_batch_end(0, bad)


@pytest.mark.full
def test_finite_losses_raise_no_error():
    callback = StopOnNaN()
    model = TwoLosses(1000, np.nan)
    model.compile()
    for _ in range(2):
        model.fit(X, batch_size=4, epochs=2, verbose=0, callbacks=[callback])
