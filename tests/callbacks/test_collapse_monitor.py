import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import augment, evaluate, trainers
from keras_ssl.callbacks import CollapseMonitor
from keras_ssl.callbacks.collapse_monitor import _Spreads
from keras_ssl.layers import ProjectionHead, Prototypes
from tests.evaluate.fashion import convolutional_encoder, fashion

X = fashion("train[:256]")[0]


def compiled(encoder, learning_rate=0.0):
    """The compiled encoder, which does not change at a learning rate of 0."""
    encoder.compile(keras.optimizers.SGD(learning_rate), "mse")
    return encoder


def measure(encoder, monitor, epochs=1):
    """Train; return the history and the warnings."""
    targets = np.zeros((len(X), encoder.output_shape[-1]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = compiled(encoder).fit(X, targets, epochs=epochs, verbose=0, callbacks=[monitor])
    told = [str(w.message) for w in caught if "CollapseMonitor" in str(w.message)]
    return history.history, told


def linear_encoder(kernel, bias):
    encoder = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(kernel.shape[1]),
        ]
    )
    encoder.set_weights([kernel, bias])
    return encoder


def test_logs_the_results_of_the_functions():
    encoder = convolutional_encoder()
    history, told = measure(encoder, CollapseMonitor(X))
    features, _ = evaluate.extract_features(encoder, X)
    assert history["feature_std"] == [
        pytest.approx(evaluate.feature_std(features).mean(), rel=1e-4)
    ]
    assert history["effective_rank"] == [pytest.approx(evaluate.effective_rank(features), rel=1e-4)]
    assert told == []


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_constant_features_are_complete_collapse(rng, noise):
    kernel = noise * rng.normal(size=(784, 32))
    history, told = measure(linear_encoder(kernel, rng.normal(size=32)), CollapseMonitor(X))
    assert history["feature_std"][0] < 0.01
    assert len(told) == 1
    assert "complete collapse of the representation after epoch 1: feature_std is" in told[0]
    assert "stop-gradient" in told[0]  # advice


def test_features_of_zeros_are_complete_collapse():
    _, told = measure(linear_encoder(np.zeros((784, 32)), np.zeros(32)), CollapseMonitor(X))
    assert "complete collapse" in told[0]


@pytest.mark.parametrize("dimensions", [2, 32, 256])
def test_features_on_one_line_are_dimensional_collapse(rng, dimensions):
    kernel = rng.normal(size=(784, 1)) * rng.normal(size=(1, dimensions))
    history, told = measure(linear_encoder(kernel, np.zeros(dimensions)), CollapseMonitor(X))
    assert history["effective_rank"][0] == pytest.approx(1, abs=0.01)
    assert len(told) == 1
    assert "dimensional collapse of the representation after epoch 1" in told[0]
    assert "effective_rank is 1.00" in told[0]
    assert "projector" in told[0]


@pytest.mark.parametrize("dimensions", [1, 2, 32, 512])
def test_healthy_features_are_not_warned_about(rng, dimensions):
    kernel = rng.normal(size=(784, dimensions))
    _, told = measure(linear_encoder(kernel, np.zeros(dimensions)), CollapseMonitor(X))
    assert told == []


def test_thresholds_are_arguments():
    encoder = convolutional_encoder()
    _, told = measure(encoder, CollapseMonitor(X, min_std=2.0))
    assert "complete" in told[0]
    _, told = measure(encoder, CollapseMonitor(X, min_rank_fraction=1.0))
    assert "dimensional" in told[0]


def test_a_low_initial_value_is_no_collapse_while_it_grows(rng):
    """Features with small differences that grow in training have not collapsed."""
    kernel = 0.01 * rng.normal(size=(784, 4))
    encoder = linear_encoder(kernel, 10 * np.ones(4))
    _, told = measure(encoder, CollapseMonitor(X, min_std=0.1))
    assert "complete" in told[0]
    # targets that differ between images
    encoder.compile(keras.optimizers.SGD(1e-2), "mse")
    targets = X.reshape(len(X), -1)[:, 300:304] / 25.5
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="CollapseMonitor")
        monitor = CollapseMonitor(X, min_std=0.1)
        history = encoder.fit(X, targets, verbose=0, callbacks=[monitor]).history
    assert 0.02 < history["feature_std"][0] < 0.1
    # a value that stays low is a collapse
    encoder.compile(keras.optimizers.SGD(0.0), "mse")
    with pytest.warns(UserWarning, match="complete collapse of the representation"):
        encoder.fit(X, targets, verbose=0, callbacks=[CollapseMonitor(X, min_std=0.1)])


def test_warns_once_per_collapse():
    encoder = linear_encoder(np.zeros((784, 4)), np.ones(4))
    _, told = measure(encoder, CollapseMonitor(X), epochs=3)
    assert len(told) == 1
    monitor = CollapseMonitor(X)
    _, told = measure(encoder, monitor)
    assert len(told) == 1
    _, told = measure(encoder, monitor)  # a new run warns again
    assert len(told) == 1


class Agree(keras.losses.Loss):
    """Cosine distance of two views, without a term that prevents collapse."""

    def call(self, z1, z2):
        normalize = keras.layers.UnitNormalization()
        return 1 - ops.sum(normalize(z1) * normalize(z2), axis=-1)


def run_simclr(loss, learning_rate=3e-3):
    encoder = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Flatten(),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(32),
        ]
    )
    trainer = trainers.SimCLR(
        encoder,
        projector=keras.layers.Identity(),
        augment=augment.SimCLRViews(28, seed=0),
        loss=loss,
    )
    trainer.compile(optimizer=keras.optimizers.Adam(learning_rate))
    return trainer.fit(X, batch_size=64, epochs=20, verbose=0, callbacks=[CollapseMonitor(X)])


@pytest.mark.full
def test_a_loss_without_negatives_collapses():
    with pytest.warns(UserWarning, match="CollapseMonitor: (complete|dimensional) collapse of"):
        collapsed = run_simclr(Agree()).history
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="CollapseMonitor")
        healthy = run_simclr(None).history
    assert healthy["feature_std"][-1] > 4 * collapsed["feature_std"][-1]


def watch(trainer, monitor=None):
    """Run an epoch at a learning rate of 0; return the history and the warnings."""
    trainer.compile(optimizer=keras.optimizers.SGD(0.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = trainer.fit(
            X, batch_size=64, verbose=0, callbacks=[monitor or CollapseMonitor(X, batch_size=100)]
        )
    told = [str(w.message) for w in caught if "CollapseMonitor" in str(w.message)]
    return history.history, told


def test_projection_spread_is_computed_from_cosines():
    trainer = trainers.SimCLR(
        convolutional_encoder(), ProjectionHead((16, 8)), augment.SimCLRViews(28, seed=0)
    )
    history, told = watch(trainer)
    assert told == []
    z = keras.ops.convert_to_numpy(trainer.projector(trainer.predict(X, verbose=0)))
    units = z / np.linalg.norm(z.astype("float64"), axis=1, keepdims=True)
    assert history["projection_spread"] == [
        pytest.approx(np.sqrt(1 - np.mean(units @ units.T)), rel=1e-4)
    ]
    assert "assignment_spread" not in history


@pytest.mark.few(1)
@pytest.mark.parametrize("bias", ["zeros", "ones"])
def test_equal_projections_are_collapse_of_the_projection(bias):
    """Whether they are zeros or another constant."""
    projector = keras.layers.Dense(8, kernel_initializer="zeros", bias_initializer=bias)
    trainer = trainers.BYOL(
        convolutional_encoder(),
        projector,
        keras.layers.Identity(),
        augment.SimCLRViews(28, seed=0),
    )
    history, told = watch(trainer)
    assert history["feature_std"][0] > 0.05
    assert history["projection_spread"] == [pytest.approx(0, abs=1e-6)]
    assert len(told) == 1
    assert "complete collapse of the projection after epoch 1: projection_spread is " in told[0]
    assert "predictor" in told[0]


@pytest.mark.few(1)
@pytest.mark.parametrize(("scale", "collapsed"), [(1e-3, True), (1.0, False)])
def test_lengths_count_if_the_loss_depends_on_them(rng, scale, collapsed):
    """VICReg aims at a standard deviation of 1, which directions do not show."""
    initializer = keras.initializers.RandomNormal(stddev=scale, seed=0)
    projector = keras.layers.Dense(16, use_bias=False, kernel_initializer=initializer)
    encoder = linear_encoder(rng.normal(size=(784, 32)) / 10, np.zeros(32))
    trainer = trainers.VICReg(encoder, projector, augment.SimCLRViews(28, seed=0))
    history, told = watch(trainer)
    assert ["complete collapse of the projection" in one for one in told] == [True] * collapsed
    if collapsed:
        z = keras.ops.convert_to_numpy(projector(trainer.predict(X, verbose=0)))
        deviation = np.sqrt(z.astype("float64").var(axis=0).mean())
        assert history["projection_spread"] == [pytest.approx(deviation, rel=1e-3)]


@keras.saving.register_keras_serializable(package="tests")
class OneForAll(keras.initializers.Initializer):
    """The mean embedding as first prototype, and its negative as all others."""

    def __init__(self, mean):
        self.mean = mean

    def __call__(self, shape, dtype=None):
        signs = [1.0] + [-1.0] * (shape[1] - 1)
        return ops.convert_to_tensor(np.outer(self.mean, signs), dtype)

    def get_config(self):
        return {"mean": self.mean}


@pytest.mark.full
def test_one_prototype_for_all_examples_is_collapse_of_the_assignment():
    encoder = convolutional_encoder()
    mean = [float(value) for value in ops.mean(encoder(X.astype("float32")), axis=0)]
    for initializer, collapsed in (("random_normal", False), (OneForAll(mean), True)):
        trainer = trainers.DINO(
            encoder,
            projector=keras.layers.Identity(),
            prototypes=Prototypes(64, kernel_initializer=initializer),
            augment=augment.MultiCropViews(28, 14, local_count=0, seed=0),
        )
        history, told = watch(trainer)
        assert "projection_spread" not in history
        assert ["complete collapse of the assignment" in one for one in told] == [True] * collapsed
        assert (history["assignment_spread"][0] < 1e-3) == collapsed


def test_measures_the_output_of_the_trainers_call():
    """A VAE's representation is the mean, which a layer behind its encoder computes."""
    encoder = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(8)]
    )
    decoder = keras.Sequential([keras.layers.Dense(784), keras.layers.Reshape((28, 28, 1))])
    trainer = trainers.VAE(encoder, decoder, latent_dim=4)
    trainer.compile(optimizer=keras.optimizers.Adam(1e-3))
    x = X / np.float32(255)
    history = trainer.fit(x, verbose=0, callbacks=[CollapseMonitor(x)]).history
    mean = trainer.predict(x, verbose=0)
    assert mean.shape == (len(x), 4)
    assert history["effective_rank"] == [pytest.approx(evaluate.effective_rank(mean), rel=1e-3)]
    assert history["feature_std"] == [pytest.approx(evaluate.feature_std(mean).mean(), rel=1e-3)]


def test_a_trainer_without_an_encoder():
    class Direct(trainers.SelfSupervisedModel):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(4)

        def call(self, x, training=False):
            return self.dense(keras.ops.reshape(x, (-1, 784)))

        def compute_losses(self, batch, training):
            return {"square": ops.square(self(batch.x, training=training))}

    trainer = Direct()
    trainer.compile(optimizer=keras.optimizers.SGD(0.0))
    x = X / np.float32(255)
    history = trainer.fit(x, verbose=0, callbacks=[CollapseMonitor(x)]).history
    features = trainer.predict(x, verbose=0)
    assert history["effective_rank"] == [pytest.approx(evaluate.effective_rank(features), rel=1e-3)]


def test_same_examples_every_time(rng):
    x = fashion("train[:600]")[0]
    encoder = linear_encoder(rng.normal(size=(784, 32)), np.zeros(32))
    shuffled = tf.data.Dataset.from_tensor_slices(x).shuffle(600).batch(64)
    history, _ = measure(encoder, CollapseMonitor(shuffled, examples=100), epochs=3)
    assert len(set(history["feature_std"])) == 1
    first, _ = measure(encoder, CollapseMonitor((x, x), examples=100))
    again, _ = measure(encoder, CollapseMonitor(x[:100]))
    assert first["effective_rank"] == pytest.approx(again["effective_rank"])


@pytest.mark.full
def test_under_a_strategy(two_replicas):
    with two_replicas.scope():
        trainer = trainers.SimCLR(
            convolutional_encoder(), ProjectionHead((16, 8)), augment.SimCLRViews(28, seed=0)
        )
        trainer.compile(optimizer="adam")
    history = trainer.fit(X, batch_size=64, verbose=0, callbacks=[CollapseMonitor(X)]).history
    features, _ = evaluate.extract_features(trainer.encoder, X)
    assert history["effective_rank"] == [pytest.approx(evaluate.effective_rank(features), rel=1e-4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": 1}, "`examples` must be an integer of at least 2"),
        ({"min_std": -1}, "`min_std` must be a number of at least 0"),
        ({"min_rank_fraction": 1.1}, "`min_rank_fraction` must be a number from 0 to 1"),
        ({"every": 1.5}, "`every` must be a positive integer"),
        ({"data": "images"}, "`data` must be a batched"),
        ({"data": X[:0]}, "`data` must hold at least one example"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        CollapseMonitor(**{"data": X, **arguments})


@pytest.mark.parametrize(
    ("data", "message"), [(X[:1], "at least two"), (np.zeros((9, 3)), "encoder")]
)
def test_data_that_does_not_fit_is_found_before_the_first_step(data, message):
    encoder = convolutional_encoder()
    model = compiled(encoder, learning_rate=0.1)
    before = encoder.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(X, np.ones((len(X), 32)), verbose=0, callbacks=[CollapseMonitor(data)])
    for weight, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def spread_of(*batches):
    spreads = _Spreads()
    for batch in batches:
        spreads.add({"some": batch})
    return spreads.numbers()["some_spread"]


def test_squared_spread_is_one_minus_the_mean_cosine_similarity(rng):
    x = rng.normal(size=(60, 7)) + 0.5
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = np.sqrt(1 - np.mean(units @ units.T))
    assert spread_of(x.astype("float32")) == pytest.approx(expected, rel=1e-5)
    parts = np.split(x.astype("float32"), [10, 45])  # batches of any size
    assert spread_of(*parts) == pytest.approx(expected, rel=1e-5)


def test_small_spreads_are_not_lost_to_rounding(rng):
    x = np.ones((1000, 64)) + 1e-3 * rng.normal(size=(1000, 64))
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = np.sqrt(units.var(axis=0).sum())
    assert spread_of(x.astype("float32")) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("value", [0.0, 1.0, 1e30])
def test_equal_vectors_have_no_spread(value):
    assert spread_of(np.full((9, 5), value, "float32")) == pytest.approx(0, abs=1e-6)


def test_spreads_ignore_lengths_and_flatten_axes(rng):
    x = rng.normal(size=(20, 2, 3)).astype("float32")
    longer = x * rng.uniform(0.1, 10, size=(20, 1, 1)).astype("float32")
    assert spread_of(longer) == pytest.approx(spread_of(x.reshape(20, 6)), rel=1e-5)


def test_names_of_spreads():
    spreads = _Spreads()
    assert spreads.numbers() == {}
    spreads.add({"a": np.eye(2, dtype="float32"), "b": np.ones((2, 2), "float16")})
    assert set(spreads.numbers()) == {"a_spread", "b_spread"}


def test_examples_are_checked_before_every_fit():
    monitor = CollapseMonitor(X)
    measure(convolutional_encoder(), monitor)
    small = [keras.Input((14, 14, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    other = compiled(keras.Sequential(small))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="784"):
        other.fit(X[:, ::2, ::2], np.zeros((len(X), 4)), verbose=0, callbacks=[monitor])
    # not only at the end of an epoch
    assert int(other.optimizer.iterations) == 0
