"""What the base does beyond the contract of all trainers."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import callbacks, trainers


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class Regressor(trainers.SelfSupervisedModel):
    """Minimises `(w x - 2)^2` for scalar `x`: everything has a closed form."""

    def __init__(self, **kwargs):
        super().__init__(keras.layers.Dense(1, use_bias=False, kernel_initializer="ones"), **kwargs)

    def compute_losses(self, batch, training):
        error = self.encoder(batch.x) - 2.0
        return {"error": ops.square(error), "size": ops.abs(self.encoder(batch.x))}

    def get_config(self):
        return keras.layers.Layer.get_config(self)


def weight(trainer):
    return float(trainer.encoder.kernel[0, 0])


def test_step_is_the_gradient_of_the_weighted_losses():
    trainer = Regressor()
    trainer.compile(keras.optimizers.SGD(0.1), loss_weights={"size": 0.5})
    x = np.array([[1.0], [3.0]], "float32")
    history = trainer.fit(x, batch_size=2, verbose=0).history
    # w = 1: d/dw mean((w x - 2)^2) = mean(2 x (x - 2)) = 2, d/dw mean(|w x|) = 2
    assert weight(trainer) == pytest.approx(1 - 0.1 * (2 + 0.5 * 2))
    assert history["error"][0] == pytest.approx(1.0)
    assert history["size"][0] == pytest.approx(2.0)
    assert history["loss"][0] == pytest.approx(1.0 + 0.5 * 2.0)


def test_regularisation_is_part_of_the_loss():
    trainer = Regressor()
    trainer.encoder = keras.layers.Dense(
        1, use_bias=False, kernel_initializer="ones", kernel_regularizer=keras.regularizers.L2(0.3)
    )
    trainer.compile(keras.optimizers.SGD(0.1), loss_weights={"size": 0.0})
    history = trainer.fit(np.array([[2.0]], "float32"), verbose=0).history
    assert history["loss"][0] == pytest.approx(0.3)
    assert weight(trainer) == pytest.approx(1 - 0.1 * 2 * 0.3)


def test_metrics_are_means_over_the_epoch_whatever_the_last_batch():
    trainer = Regressor()
    trainer.compile(keras.optimizers.SGD(0.0))
    x = np.array([[1.0], [2.0], [6.0]], "float32")
    history = trainer.fit(x, batch_size=2, shuffle=False, verbose=0).history
    assert history["size"][0] == pytest.approx(3.0)


def test_after_update_runs_once_a_step_and_sees_the_new_weights():
    class Follower(Regressor):
        def __init__(self):
            super().__init__()
            self.last = keras.Variable(np.zeros((1, 1)), trainable=False)
            self.calls = keras.Variable(0.0, trainable=False)

        def after_update(self):
            self.last.assign(self.encoder.kernel)
            self.calls.assign_add(1.0)

    trainer = Follower()
    trainer.compile(keras.optimizers.SGD(0.1))
    trainer.fit(np.ones((8, 1), "float32"), batch_size=2, verbose=0)
    assert float(trainer.last[0, 0]) == weight(trainer) != 1.0
    assert float(trainer.calls) == 4


def test_validation_does_not_learn():
    trainer = Regressor()
    trainer.compile(keras.optimizers.SGD(0.1))
    before = trainer.evaluate(np.ones((4, 1), "float32"), verbose=0, return_dict=True)
    assert before["error"] == pytest.approx(1.0) and weight(trainer) == 1.0


def test_nan_stops_the_run_and_names_loss_and_step():
    trainer = Regressor()
    trainer.compile(keras.optimizers.SGD(0.0))
    x = np.ones((6, 1), "float32")
    x[4] = np.nan
    with pytest.raises(FloatingPointError, match=r"error.* at step 3 "):
        trainer.fit(x, batch_size=2, shuffle=False, verbose=0)


def test_callback_lists_and_single_callbacks_are_kept():
    trainer = Regressor()
    trainer.compile("sgd")
    seen = []
    one = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)))
    trainer.fit(np.ones((4, 1), "float32"), callbacks=one, verbose=0)
    assert seen == [["error", "loss", "size"]]
    assert issubclass(callbacks.StopOnNaN, keras.callbacks.Callback)


@pytest.mark.parametrize("argument", ["encoder", "augment"])
def test_parts_must_be_layers(argument):
    with pytest.raises(TypeError, match=argument):
        trainers.SelfSupervisedModel(**{argument: "resnet"})


def test_losses_may_not_take_the_name_of_their_total():
    class Wrong(Regressor):
        def compute_losses(self, batch, training):
            return {"loss": ops.square(self.encoder(batch.x))}

    trainer = Wrong()
    trainer.compile("sgd")
    with pytest.raises(ValueError, match="'loss'"):
        trainer.fit(np.ones((4, 1), "float32"), verbose=0)


@pytest.mark.parametrize("how", ["mean", "sum of means", "cast", "scalar loss"])
def test_a_mean_by_hand_is_refused_on_replicas(two_replicas, how):
    class ScalarLoss(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return ops.mean(ops.square(y_true - y_pred))

    wrong = {
        "mean": lambda y: ops.mean(ops.square(y)),
        "sum of means": lambda y: ops.mean(y) + 0.5 * ops.mean(ops.square(y)),
        "cast": lambda y: ops.cast(ops.mean(y), "float16"),
        "scalar loss": lambda y: ScalarLoss()(y, 2 * y),
    }

    class Wrong(Regressor):
        def compute_losses(self, batch, training):
            return {"error": wrong[how](self.encoder(batch.x))}

    with two_replicas.scope():
        trainer = Wrong()
        trainer.compile("sgd")
    with pytest.raises(ValueError, match="by hand"):
        trainer.fit(np.ones((4, 1), "float32"), batch_size=2, verbose=0)


def test_keras_losses_scale_like_values_on_replicas(two_replicas):
    class WithKerasLoss(Regressor):
        def compute_losses(self, batch, training):
            y = self.encoder(batch.x)
            return {"error": keras.losses.MeanSquaredError()(2.0 * ops.ones_like(y), y)}

    results = []
    for method in (Regressor, WithKerasLoss):
        with two_replicas.scope():
            trainer = method()
            only_error = {"size": 0.0} if method is Regressor else None
            trainer.compile(keras.optimizers.SGD(0.1), loss_weights=only_error)
        x = np.array([[1.0], [3.0], [2.0], [5.0]], "float32")
        history = trainer.fit(x, batch_size=4, verbose=0).history
        results.append((weight(trainer), history["loss"][0]))
    assert results[0] == pytest.approx(results[1])


class TwoUpdates(Regressor):
    optimizer_names = ("first", "second")

    def updates(self):
        return [
            trainers.Update(
                lambda batch, training, n=name: {n: ops.square(self.encoder(batch.x))},
                self.trainable_weights,
                self.optimizers[name],
            )
            for name in self.optimizer_names
        ]


def test_optimizers_must_be_those_that_the_method_names():
    one = keras.optimizers.SGD(0.1)
    for trainer, wrong in (
        (TwoUpdates(), "adam"),
        (TwoUpdates(), {"first": one}),
        (TwoUpdates(), {"first": one, "third": keras.optimizers.SGD()}),
        (TwoUpdates(), {"first": one, "second": one}),
        (Regressor(), {"first": one, "second": keras.optimizers.SGD()}),
    ):
        with pytest.raises(ValueError, match="optimizer"):
            trainer.compile(wrong)


def test_average_of_several_optimizers_is_refused():
    pair = {"first": keras.optimizers.SGD(use_ema=True), "second": keras.optimizers.SGD()}
    with pytest.raises(ValueError, match="use_ema"):
        TwoUpdates().compile(pair)


def test_each_update_has_the_losses_that_its_own_calls_added():
    trainer = TwoUpdates()
    trainer.encoder = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer="ones",
        kernel_regularizer=keras.regularizers.L2(0.5),
        activity_regularizer=keras.regularizers.L2(0.25),
    )
    trainer.compile({"first": keras.optimizers.SGD(0.0), "second": keras.optimizers.SGD(0.0)})
    x = np.full((4, 1), 2.0, "float32")
    for _ in range(2):  # what predict leaves behind is not found by the next fit
        history = trainer.fit(x, batch_size=4, verbose=0).history
        # each: square 4, weight 0.5 * 1, activity 0.25 * sum(4) / 4
        assert history["loss"][0] == pytest.approx(2 * (4 + 0.5 + 1.0))
        trainer.predict(x, verbose=0)


def test_arguments_of_keras_compile_that_mean_nothing_here_are_explained():
    with pytest.raises(TypeError, match="belongs to the method"):
        Regressor().compile("sgd", loss="mse")


def test_sample_weights_are_refused():
    trainer = Regressor()
    trainer.compile("sgd")
    x = np.ones((4, 1), "float32")
    with pytest.raises(ValueError, match="sample_weight"):
        trainer.fit(x, x, sample_weight=np.ones(4), verbose=0)


def test_epochs_may_be_positional_and_an_empty_pipeline_is_an_error():
    trainer = Regressor()
    trainer.compile("sgd")
    assert len(trainer.fit(np.ones((4, 1), "float32"), None, 2, 3, 0).epoch) == 3
    nothing = tf.data.Dataset.from_tensor_slices(np.ones((4, 1), "float32")).batch(2)
    with pytest.raises(ValueError, match="no batch"):
        trainer.fit(nothing.filter(lambda x: False), verbose=0)


def test_dictionaries_go_through_with_a_probe():
    class OnDictionaries(Regressor):
        def call(self, x, training=False):
            return self.encoder(x["a"] + x["b"])

        def compute_losses(self, batch, training):
            return {"error": ops.square(self(batch.x))}

    trainer = OnDictionaries()
    trainer.compile("sgd", probe=trainers.OnlineProbe(2, optimizer="sgd"))
    x = {"a": np.ones((4, 1), "float32"), "b": np.ones((4, 1), "float32")}
    y = np.array([0, 1, 0, 1])
    history = trainer.fit(x, y, validation_data=(x, y), verbose=0).history
    assert np.isfinite(history["val_probe_loss"][0])


@pytest.mark.parametrize("make", ["dataset", "sequence"])
def test_uneven_shares_of_a_batch_are_refused_on_replicas(two_replicas, make):
    with two_replicas.scope():
        trainer = Regressor()
        trainer.compile("sgd")
    x = np.ones((5, 1), "float32")

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return x

    # a dataset tells its batch size beforehand, a sequence when a batch comes
    refused = (ValueError, tf.errors.InvalidArgumentError)
    with pytest.raises(refused, match=r"static batch size|different sizes"):
        if make == "dataset":
            trainer.evaluate(tf.data.Dataset.from_tensor_slices(x).batch(5), verbose=0)
        else:
            trainer.fit(Sequence(), verbose=0)


def test_fit_after_a_plain_call_and_after_recompiling():
    trainer = Regressor()
    trainer(np.ones((2, 1), "float32"))
    trainer.compile("sgd")
    trainer.fit(np.ones((4, 1), "float32"), verbose=0)
    trainer.compile("adam", probe=trainers.OnlineProbe(2))
    data = (np.ones((4, 1), "float32"), np.array([0, 1, 0, 1]))
    history = trainer.fit(*data, verbose=0).history
    assert "probe_accuracy" in history


def test_exported_model_gives_the_representation(tmp_path):
    trainer = Regressor()
    trainer.compile("sgd")
    x = np.ones((4, 1), "float32")
    trainer.fit(x, verbose=0)
    trainer.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(served.serve(x), trainer.predict(x, verbose=0), rtol=1e-6)


def test_steps_taken_are_those_of_the_optimizer():
    trainer = Regressor()
    assert int(trainer.steps_taken()) == 0 and bool(trainer.is_before(1))
    trainer.compile("sgd")
    trainer.fit(np.ones((12, 1), "float32"), batch_size=4, verbose=0)
    assert int(trainer.steps_taken()) == 3
    assert bool(trainer.is_before(4)) and not bool(trainer.is_before(3))
    assert trainer.is_before(0) is False


class OneLoss(trainers.SelfSupervisedModel):
    """One named loss, of 1 for an encoder of ones."""

    def compute_losses(self, batch, training):
        return {"size": keras.ops.abs(self.encoder(batch.x, training=training))}


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("encoder", "loss_weights", "expected"),
    [
        ({}, None, {"loss": 1.0}),
        ({}, {"size": 1.0}, {"loss": 1.0}),
        ({}, {"size": 2.0}, {"loss": 2.0, "size": 1.0}),
        ({"kernel_regularizer": keras.regularizers.L1(0.5)}, None, {"loss": 1.5, "size": 1.0}),
        ({"activity_regularizer": keras.regularizers.L1(0.5)}, None, {"loss": 1.5, "size": 1.0}),
    ],
)
def test_one_named_loss_is_logged_once_unless_it_is_not_the_total(encoder, loss_weights, expected):
    trainer = OneLoss(keras.layers.Dense(1, kernel_initializer="ones", **encoder))
    trainer.compile(keras.optimizers.SGD(0.0), loss_weights=loss_weights)
    x = np.ones((4, 1), "float32")
    history = trainer.fit(x, validation_data=(x,), verbose=0).history
    assert {key: values[0] for key, values in history.items()} == pytest.approx(
        expected | {f"val_{key}": value for key, value in expected.items()}
    )
    assert trainer.evaluate(x, verbose=0, return_dict=True) == pytest.approx(expected)
    trainer.compile(keras.optimizers.SGD(0.0), loss_weights={"size": 3.0})
    assert set(trainer.fit(x, verbose=0).history) == {"loss", "size"}
