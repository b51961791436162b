"""All state of a trainer exists once it is built, and evaluation leaves it as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import augment, callbacks, layers, optimizers, trainers
from tests.trainers.cases import CASES, costly
from tests.trainers.small import images


def values(trainer):
    return [np.asarray(one) for one in trainer.variables]


def assert_equal(a, b):
    for one, other in zip(values(a), values(b), strict=True):
        np.testing.assert_array_equal(one, other)


def shapes_of(x):
    if isinstance(x, dict):
        return {name: shapes_of(one) for name, one in x.items()}
    if isinstance(x, (tuple, list)):
        return tuple(shapes_of(one) for one in x)
    return (None, *x.shape[1:])


@costly("teacher", slow=("queue", "tokens"))
def test_weights_loaded_before_the_first_fit_are_all_restored(name, tmp_path):
    case = CASES[name]
    trained = case.make()
    trained.compile(case.sgd())
    trained.fit(case.first(64), None if case.y() is None else case.y()[:64], verbose=0)
    trained.save_weights(tmp_path / "trainer.weights.h5")
    keras.utils.set_random_seed(7)
    fresh = case.make()
    fresh.compile(case.sgd())
    with pytest.raises(ValueError, match="must be built before"):
        fresh.load_weights(tmp_path / "trainer.weights.h5")
    fresh.build(shapes_of(case.x()))
    fresh.load_weights(tmp_path / "trainer.weights.h5")
    assert len(trained.weights) == len(fresh.weights)
    for one, other in zip(trained.weights, fresh.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(other), np.asarray(one), err_msg=one.path)
    # the first `fit` starts from them: with a rate of 0 nothing that is learned moves
    fresh.compile(_frozen(case.sgd()))
    learned = [np.asarray(w) for w in trained.trainable_weights]
    fresh.fit(case.first(32), None if case.y() is None else case.y()[:32], verbose=0)
    for one, other in zip(learned, fresh.trainable_weights, strict=True):
        np.testing.assert_allclose(np.asarray(other), one, rtol=1e-5, atol=1e-6)


def _frozen(optimizer):
    for one in optimizer.values() if isinstance(optimizer, dict) else [optimizer]:
        one.learning_rate = 0.0
    return optimizer


def byol(network=None, momentum=0.9):
    return trainers.BYOL(
        network or keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8)]),
        layers.ProjectionHead((8, 4), normalization=False),
        layers.ProjectionHead((8, 4), normalization=False),
        augment.SimCLRViews(28, seed=0),
        momentum=momentum,
    )


def test_a_call_builds_everything():
    trainer = byol()
    trainer(images()[0][:4])
    before = {id(v) for v in trainer.variables}
    trainer.compile("sgd")
    trainer.fit(images()[0][:32], verbose=0)
    assert {id(v) for v in trainer.variables} == before


@pytest.mark.full
def test_predictions_before_training_leave_training_as_it_is():
    x = images()[0][:32]
    keras.utils.set_random_seed(0)
    one, other = byol(), byol()
    other.predict(x, verbose=0)
    for trainer in (one, other):
        trainer.compile("sgd")
        trainer.build((None, 28, 28, 1))
    other.set_weights(one.get_weights())
    for trainer in (one, other):
        trainer.fit(x, shuffle=False, verbose=0)
    assert len(one.weights) == len(other.weights)
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=1e-5, atol=1e-6)


@pytest.mark.full
def test_validation_data_of_a_failed_fit_is_forgotten():
    x = images()[0][:32]
    trainer = simclr()
    with pytest.raises(ValueError, match="channels"):
        trainer.fit(x[..., 0], validation_data=(x[..., 0],), verbose=0)
    assert np.all(np.isfinite(trainer.evaluate(x, verbose=0)))


@pytest.mark.full
def test_a_call_on_what_cannot_be_trained_on_builds_the_encoder_alone():
    trainer = trainers.BYOL(
        keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(8)]),
        layers.ProjectionHead((8, 4)),
        layers.ProjectionHead((8, 4)),
        augment.SimCLRViews(28),
    )
    small = np.zeros((2, 8, 8, 1), "float32")  # smaller than the views
    assert trainer(small).shape == (2, 8)
    with pytest.raises(ValueError, match="must be built before"):
        trainer.load_weights("no.weights.h5")
    trainer.build((None, 28, 28, 1))
    assert len(trainer.teacher_encoder.weights) == 2
    trainer.compile("sgd")
    trainer.fit(images()[0][:32], verbose=0)


@pytest.mark.full
def test_an_encoder_loaded_after_the_trainer_was_built_is_the_teachers_too():
    trainer = byol()
    trainer.build((None, 28, 28, 1))
    trainer.encoder.set_weights([w + 1 for w in trainer.encoder.get_weights()])
    trainer.compile(keras.optimizers.SGD(0.0))
    trainer.fit(images()[0][:32], verbose=0)
    for ours, theirs in zip(trainer.encoder.weights, trainer.teacher_encoder.weights, strict=True):
        np.testing.assert_allclose(np.asarray(theirs), np.asarray(ours), rtol=1e-6)


@pytest.mark.full
def test_weights_only_checkpoints_resume_a_trainer(tmp_path):
    path = tmp_path / "best.weights.h5"
    trainer = byol()
    trainer.compile("sgd")
    saver = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    trainer.fit(images()[0][:64], epochs=2, callbacks=[saver], verbose=0)
    again = byol()
    again.build((None, 28, 28, 1))
    again.load_weights(path)
    assert_equal(trainer, again)


@pytest.mark.few(1)
@pytest.mark.parametrize("way", ["train_on_batch", "evaluate", "fit"])
def test_a_teacher_starts_from_what_its_student_has_when_training_starts(way):
    trainer = byol(momentum=0.0)
    trainer.build((None, 28, 28, 1))
    trainer.encoder.set_weights([w + 1 for w in trainer.encoder.get_weights()])
    trainer.compile(keras.optimizers.SGD(0.0))
    getattr(trainer, way)(images()[0][:32])
    for ours, theirs in zip(trainer.encoder.weights, trainer.teacher_encoder.weights, strict=True):
        np.testing.assert_allclose(np.asarray(theirs), np.asarray(ours), rtol=1e-6)


def test_weights_that_were_set_stay():
    one, other = byol(), byol()
    for trainer in (one, other):
        trainer.build((None, 28, 28, 1))
        trainer.compile(keras.optimizers.SGD(0.0))
    values_set = [w + 1 if w.dtype.kind == "f" else w for w in one.get_weights()]
    values_set[-1] = values_set[-1] + 1
    other.set_weights(values_set)
    before = [np.asarray(w) for w in other.teacher_projector.weights]
    other.train_on_batch(images()[0][:32])
    for w, old in zip(other.teacher_projector.weights, before, strict=True):
        assert np.abs(np.asarray(w) - old).max() < 0.5


def test_a_new_optimizer_moves_teachers_from_its_first_step():
    class Teachers(trainers.SelfSupervisedModel):
        def __init__(self):
            super().__init__(keras.layers.Dense(2))
            self.head = keras.layers.Dense(2)
            self.first = trainers.EMATeacher(self, ["encoder"], 0.0)
            self.second = trainers.EMATeacher(self, ["head"], 0.0)

        def embed(self, batch, training):
            h = self.teacher_head(self.teacher_encoder(batch.x))
            return {"error": ops.square(self.head(self.encoder(batch.x)) - h - 1.0)}

    trainer = Teachers()
    for _ in range(2):
        trainer.compile(keras.optimizers.SGD(0.1))
        trainer.fit(np.ones((8, 3), "float32"), verbose=0)
        for name in ("encoder", "head"):
            student, teacher = getattr(trainer, name), getattr(trainer, f"teacher_{name}")
            np.testing.assert_array_equal(np.asarray(teacher.kernel), np.asarray(student.kernel))


# Teachers


def test_a_teacher_has_state_that_layers_derive_from_their_weights(tmp_path):
    normalization = keras.layers.Normalization(axis=None)
    normalization.adapt(images()[0])
    network = keras.Sequential([normalization, keras.layers.Flatten(), keras.layers.Dense(8)])
    trainer = byol(network)
    trainer.compile(keras.optimizers.SGD(0.0))
    trainer.fit(images()[0][:32], verbose=0)
    x = images()[0][:4].astype("float32")
    expected = trainer.encoder(x)
    np.testing.assert_allclose(trainer.teacher_encoder(x), expected, rtol=1e-4)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    np.testing.assert_allclose(loaded.teacher_encoder(x), expected, rtol=1e-4)


@pytest.mark.full
@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_teachers_layers_have_the_flags_that_compile_finds(is_frozen):
    norm = keras.layers.BatchNormalization(momentum=0.0)
    norm.trainable = not is_frozen
    trainer = byol(keras.Sequential([keras.layers.Flatten(), norm, keras.layers.Dense(8)]))
    norm.trainable = is_frozen
    trainer.compile(keras.optimizers.SGD(0.0))
    norm.trainable = not is_frozen  # until the trainer is compiled again
    trainer.compile(keras.optimizers.SGD(0.0))
    trainer.fit(images()[0][:32], verbose=0)
    teachers = trainer.teacher_encoder.layers[1]
    moved = np.abs(np.asarray(teachers.moving_mean)).max() > 0
    assert moved == (not is_frozen) and teachers.trainable == (not is_frozen)
    assert not trainer.teacher_encoder.trainable_weights


@pytest.mark.full
def test_a_teacher_in_bfloat16_moves(set_dtype_policy):
    set_dtype_policy("bfloat16")
    trainer = byol(momentum=0.999)
    trainer.compile(keras.optimizers.SGD(0.5))
    x = images()[0][:32]
    trainer.fit(x, verbose=0)
    kernel = trainer.teacher_encoder.layers[-1].kernel
    assert kernel.dtype == "bfloat16"
    before = np.asarray(kernel, "float32")
    trainer.fit(x, epochs=40, verbose=0)
    student = np.asarray(trainer.encoder.layers[-1].kernel, "float32")
    start, end = (np.abs(student - one).mean() for one in (before, np.asarray(kernel, "float32")))
    assert end < 0.99 * start


def test_a_layer_that_cannot_be_copied_is_rebuilt_from_its_config(monkeypatch):
    from keras_ssl.trainers import teacher

    def fails(layer):
        raise TypeError("it holds a file")

    class NoConfig(keras.layers.Layer):
        def __init__(self, width):
            super().__init__()
            self.width = width

        def call(self, x):
            return x

    monkeypatch.setattr(teacher, "copy_layer", fails)
    trainer = byol()
    trainer.build((None, 28, 28, 1))
    with pytest.raises(ValueError, match=r"`encoder` could not be copied.*`get_config`"):
        byol(NoConfig(lambda: 3))


# Evaluation


def simclr(**arguments):
    keras.utils.set_random_seed(3)
    trainer = CASES["SimCLR"].make()
    trainer.compile(keras.optimizers.SGD(0.05), **arguments)
    return trainer


@pytest.mark.full
def test_evaluation_gives_equal_losses_at_each_call_and_leaves_training_untouched():
    x, y = images()[0][:64], images()[1][:64]
    one, other = simclr(), simclr()
    settings = {"batch_size": 32, "epochs": 2, "shuffle": False, "verbose": 0}
    one.fit(x, **settings)
    losses = [other.evaluate(x, batch_size=32, verbose=0) for _ in range(2)]
    other.fit(x, **settings, validation_data=(x, y))
    assert_equal(one, other)
    assert losses[0] == losses[1]
    assert other.test_on_batch(x[:32]) == other.test_on_batch(x[:32])


@pytest.mark.full
def test_a_first_evaluation_does_not_change_what_training_draws():
    x = images()[0][:64]
    weights = []
    for evaluates in (False, True):
        trainer = simclr()
        trainer.build((None, 28, 28, 1))
        keras.utils.set_random_seed(3)
        if evaluates:
            trainer.evaluate(x, verbose=0)
        trainer.fit(x, batch_size=32, verbose=0)
        weights.append(trainer.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_arrays_for_validation_come_in_batches_of_the_size_of_training():
    sizes = []

    class Sizes(trainers.SelfSupervisedModel):
        def embed(self, batch, training):
            if not training:
                sizes.append(batch.x.shape[0])
            return {"size": ops.square(self.encoder(batch.x))}

    trainer = Sizes(keras.layers.Dense(1))
    trainer.compile("sgd")
    x = np.ones((64, 2), "float32")
    trainer.fit(x, batch_size=16, validation_data=(x,), verbose=0)
    assert set(sizes) == {None, 16}


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (lambda x, y: (x,), "labels"),
        (lambda x, y: (x, y.astype("float32")), "integer"),
        (lambda x, y: (x[:, :20, :20], y), "larger than the images"),
        (lambda x, y: (np.repeat(x, 3, axis=-1), y), "axis -1"),
        (lambda x, y: (x[..., 0], y), "channels"),
        (lambda x, y: (x, y, np.ones(len(x), "float32")), "sample_weight"),
    ],
)
def test_validation_data_is_checked_before_the_first_epoch(validation, message):
    x, y = images()[0][:32], images()[1][:32]
    trainer = simclr(probe=trainers.OnlineProbe(10))
    epochs = []
    count = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    for data in (
        validation(x, y),
        tf.data.Dataset.from_tensor_slices(validation(x, y)).batch(16),
    ):
        with pytest.raises(ValueError, match=message):
            trainer.fit(x, y, validation_data=data, callbacks=[count], verbose=0)
    assert not epochs


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :20, :20], "larger than the images"),
        (lambda x: np.repeat(x, 3, axis=-1), "axis -1"),
        (lambda x: x[..., 0], "channels"),
    ],
)
def test_every_fit_and_evaluate_checks_its_data(change, message):
    x = images()[0][:32]
    trainer = simclr()
    trainer.fit(x, verbose=0)
    steps = int(trainer.optimizer.iterations)
    for method in (trainer.fit, trainer.evaluate, trainer.train_on_batch):
        with pytest.raises(ValueError, match=message):
            method(change(x))
    assert int(trainer.optimizer.iterations) == steps


@pytest.mark.full
def test_a_split_for_validation_leaves_batches_as_they_are():
    x = images()[0][:49]
    trainer = simclr()
    sizes = {"batch_size": 16, "validation_split": 17 / 49}
    history = trainer.fit(x, **sizes, validation_batch_size=17, verbose=0).history
    assert np.isfinite(history["val_loss"][0])
    with pytest.raises(ValueError, match="In `validation_data`: The last batch"):
        trainer.fit(x, **sizes, verbose=0)
    with pytest.raises(ValueError, match="last batch"):
        trainer.fit(images()[0][:66], batch_size=16, validation_split=0.5, verbose=0)


def test_sample_weights_without_labels_are_refused():
    with pytest.raises(ValueError, match="sample_weight"):
        simclr().fit(images()[0][:32], sample_weight=np.ones(32), verbose=0)


# What can be changed


class Scale(keras.layers.Layer):
    """Two views, the input times a factor."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x, training=None):
        return self.factor * x, self.factor * x + 1.0

    def get_config(self):
        return {"factor": self.factor}


class Apart(trainers.SelfSupervisedModel):
    """Loses the mean of the first view."""

    def embed(self, batch, training):
        return {"size": ops.mean(batch.views[0] + 0 * self.encoder(batch.x), axis=-1)}


def test_a_replaced_augmentation_is_used_and_saved(tmp_path):
    x = np.ones((8, 2), "float32")
    keras.saving.get_custom_objects().update({"Scale": Scale, "Apart": Apart})
    trainer = Apart(keras.layers.Dense(2), Scale(1.0))
    trainer.compile("sgd")
    losses = [trainer.fit(x, verbose=0).history["loss"][0]]
    trainer.augment = Scale(3.0)
    losses.append(trainer.fit(x, verbose=0).history["loss"][0])

    class Grow(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.augment = Scale(10.0 * epoch)

    losses += trainer.fit(x, epochs=3, initial_epoch=1, callbacks=[Grow()], verbose=0).history[
        "loss"
    ]
    assert losses == pytest.approx([1.0, 3.0, 10.0, 20.0])
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert loaded.evaluate(x, verbose=0, return_dict=True)["loss"] == pytest.approx(20.0)
    with pytest.raises(ValueError, match="cannot add new elements"):
        trainer.encoder = keras.layers.Dense(2)


class Two(trainers.SelfSupervisedModel):
    """Draws two weights to 0."""

    def __init__(self):
        super().__init__(keras.layers.Dense(1, kernel_initializer="ones"))

    def compute_losses(self, batch, training):
        outputs = self.encoder(batch.x)
        loss = ops.square(self.encoder.kernel) + ops.square(self.encoder.bias - 1.0)
        return {"size": ops.mean(loss) * ops.ones_like(outputs)}

    def get_config(self):
        return keras.layers.Layer.get_config(self)


def test_groups_of_variables_have_their_own_learning_rate_and_weight_decay():
    x = np.ones((4, 1), "float32")
    trainer = Two()
    trainer.compile(
        keras.optimizers.SGD(0.1, weight_decay=0.5),
        learning_rate_multipliers={"kernel": 0.5},
        exclude_from_weight_decay=["bias"],
    )
    trainer.fit(x, verbose=0)
    # decay of the kernel by 0.1 * 0.5, then its gradient 2 w; half of both
    assert float(trainer.encoder.kernel[0, 0]) == pytest.approx(
        1 - 0.5 * (0.05 + 0.1 * 2), abs=0.011
    )
    assert float(trainer.encoder.bias[0]) == pytest.approx(0.1 * 2)
    with pytest.raises(ValueError, match="matches none"):
        trainer.compile("sgd", learning_rate_multipliers={"no such": 0.5})
    used = keras.optimizers.SGD(0.1, weight_decay=0.5)
    trainer.compile(used)
    trainer.fit(x, verbose=0)
    with pytest.raises(ValueError, match="has not been used"):
        trainer.compile(used, exclude_from_weight_decay=["bias"])
    with pytest.raises(ValueError, match="use_ema"):
        average = keras.optimizers.SGD(0.1, use_ema=True)
        trainer.compile(average, learning_rate_multipliers={"^encoder/": 0.5})
    with pytest.raises(ValueError, match="not possible for Ftrl, Lookahead"):
        slow = optimizers.Lookahead("sgd")
        trainer.compile(slow, learning_rate_multipliers={"^encoder/": 0.5})


def test_groups_may_be_of_one_of_several_optimizers():
    case = CASES["GAN"]
    trainer = case.make()
    trainer.compile(case.sgd(), learning_rate_multipliers={"^generator/": 0.0})
    x = case.first(32)
    trainer.build((None, *x.shape[1:]))
    before = [np.asarray(w) for w in trainer.generator.trainable_weights]
    discriminator = np.asarray(trainer.encoder.trainable_weights[0])
    trainer.fit(x, verbose=0)
    for weight, old in zip(trainer.generator.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), old)
    assert not np.array_equal(np.asarray(trainer.encoder.trainable_weights[0]), discriminator)


def sharpness_aware(learning_rate=0.1):
    return optimizers.SAM(keras.optimizers.SGD(learning_rate), rho=0.5)


@pytest.mark.parametrize("settings", [{}, {"jit_compile": True}, {"run_eagerly": True}], ids=str)
def test_optimizers_may_call_for_the_loss_again(settings):
    trainer = Two()
    trainer.compile(sharpness_aware(), **settings)
    trainer.fit(np.ones((4, 1), "float32"), verbose=0)
    # gradients 2 w = 2 and 2 (b - 1) = -2: the step of length 0.5 is (0.354, -0.354)
    step = 0.5 / 2**0.5
    assert float(trainer.encoder.kernel[0, 0]) == pytest.approx(1 - 0.1 * 2 * (1 + step))
    assert float(trainer.encoder.bias[0]) == pytest.approx(0.1 * 2 * (1 + step))


def test_an_optimizer_that_calls_again_goes_through_micro_batches():
    results = []
    for size in (None, 8):
        keras.utils.set_random_seed(3)
        trainer = CASES["SimCLR"].make()
        trainer.augment = None
        trainer.compile(sharpness_aware(), micro_batch_size=size)
        x = images()[0][:32].astype("float32") / 255
        trainer.fit((x, np.flip(x, axis=2).copy()), batch_size=32, verbose=0)
        results.append(trainer)
    for one, other in zip(*(r.get_weights() for r in results), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)


def test_the_monitor_sees_what_the_loss_compares():
    assert set(byol_built().monitored_outputs(np.ones((4, 8), "float32"))) == {"projection"}
    assert issubclass(callbacks.CollapseMonitor, keras.callbacks.Callback)


def byol_built():
    trainer = byol()
    trainer.build((None, 28, 28, 1))
    return trainer


@pytest.mark.full
def test_an_optimizer_that_calls_again_moves_all_replicas_alike(two_replicas):
    results = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        keras.utils.set_random_seed(3)
        with strategy.scope():
            trainer = CASES["VAE"].make()
            trainer.compile(sharpness_aware(1e-5))  # losses are sums over pixels
        trainer.fit(CASES["VAE"].first(32), batch_size=32, verbose=0)
        results.append(trainer.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5)
