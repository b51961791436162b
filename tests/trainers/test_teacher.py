"""Teachers that follow: the moving average, when it moves, and what Keras sees of it."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import trainers
from keras_ssl._keras_internals import all_layers
from keras_ssl.layers import DropPath, SyncBatchNormalization
from keras_ssl.optimizers import cosine_momentum
from tests.trainers.cases import CASES
from tests.trainers.runs import build, make


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class Distillation(trainers.SelfSupervisedModel):
    """The encoder learns to give what its teacher gives of noisy input."""

    def __init__(self, encoder, momentum=0.9, **kwargs):
        super().__init__(encoder, **kwargs)
        self.momentum = momentum
        self.teacher = trainers.EMATeacher(self, ["encoder"], momentum)

    def embed(self, batch, training):
        target = ops.stop_gradient(self.teacher_encoder(batch.x, training=training))
        return {"error": ops.square(self.encoder(batch.x, training=training) - target - 1)}

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


def network():
    return keras.Sequential([keras.layers.Dense(4), SyncBatchNormalization(), keras.layers.ReLU()])


def trained(momentum=0.9, steps=1, optimizer=None, x=None, **arguments):
    keras.utils.set_random_seed(2)
    trainer = Distillation(network(), momentum)
    trainer.compile(optimizer or keras.optimizers.SGD(0.1), **arguments)
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32") if x is None else x
    for _ in range(steps):
        trainer.train_on_batch(x)
    return trainer


def started(momentum=0.9):
    """A trainer before its first step."""
    trainer = trained(momentum, steps=0)
    trainer.build_step(keras.KerasTensor((16, 3)), None)
    return trainer


def learned(layer):
    return [np.asarray(w) for w in layer.weights if "moving" not in w.path]


def statistics(layer):
    return [np.asarray(w) for w in layer.weights if "moving" in w.path]


def test_starts_as_a_copy_of_the_student():
    trainer = started()
    for ours, theirs in zip(trainer.encoder.weights, trainer.teacher_encoder.weights, strict=True):
        assert ours is not theirs
        np.testing.assert_array_equal(ours, theirs)


def test_a_teacher_of_classes_that_are_not_registered():
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    class Network(keras.Model):
        def __init__(self, width, **kwargs):
            super().__init__(**kwargs)
            self.width = width
            self.head = keras.layers.Dense(width)

        def call(self, x):
            return self.head(x)

        def get_config(self):
            return {**super().get_config(), "width": self.width}

    trainer = Distillation(
        keras.Sequential([Network(4), Twice(), keras.layers.Lambda(lambda x: x + 1)])
    )
    trainer.compile("sgd")
    trainer.fit(np.ones((8, 3), "float32"), verbose=0)
    assert [type(one) for one in trainer.teacher_encoder.layers] == [
        Network,
        Twice,
        keras.layers.Lambda,
    ]
    assert len(trainer.trainable_weights) == len(trainer.teacher_encoder.weights) == 2


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_moves_by_the_formula_after_the_step(momentum):
    before = learned(started(momentum).teacher_encoder)
    trainer = trained(momentum)
    for xi, theta, old in zip(
        learned(trainer.teacher_encoder), learned(trainer.encoder), before, strict=True
    ):
        expected = momentum * old.astype("float64") + (1 - momentum) * theta.astype("float64")
        np.testing.assert_allclose(xi, expected, rtol=1e-6, atol=1e-7)
    moved = zip(learned(trainer.encoder), before, strict=True)
    assert any(not np.array_equal(theta, old) for theta, old in moved)


def test_statistics_are_the_teachers_own():
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(16, 3)).astype("float32")
    trainer = trained(x=x)
    kernel, bias = (np.asarray(w, "float64") for w in started().teacher_encoder.weights[:2])
    mean = (x.astype("float64") @ kernel + bias).mean(axis=0)
    np.testing.assert_allclose(statistics(trainer.teacher_encoder)[0], 0.1 * mean, rtol=1e-4)


def test_statistics_are_those_of_the_teachers_own_activations_at_every_step():
    """After several steps those of the student differ, and averaging them in would show."""
    trainer, mean, variance = started(momentum=0.9), 0.0, 1.0
    for x in np.random.default_rng(0).normal(3.0, 2.0, size=(4, 16, 3)).astype("float32"):
        kernel, bias = (np.asarray(w, "float64") for w in trainer.teacher_encoder.weights[:2])
        h = x.astype("float64") @ kernel + bias
        mean, variance = 0.9 * mean + 0.1 * h.mean(0), 0.9 * variance + 0.1 * h.var(0)
        trainer.train_on_batch(x)
    ours, students = (statistics(one) for one in (trainer.teacher_encoder, trainer.encoder))
    np.testing.assert_allclose(ours[0], mean, rtol=1e-4)
    np.testing.assert_allclose(ours[1], variance, rtol=1e-4)
    assert np.abs(ours[0] - students[0]).max() > 0.01


class Rising(keras.optimizers.schedules.LearningRateSchedule):
    """Momentum 0.1, 0.3, 0.5 and so on."""

    def __call__(self, step):
        return 0.1 + 0.2 * ops.cast(step, "float32")


def test_schedule_is_read_at_the_optimizers_step():
    """As the learning rate is: after the first step the momentum is that of step 0."""
    trainer = trained(Rising(), steps=0)
    trainer.build_step(keras.KerasTensor((16, 3)), None)
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
    for momentum in (0.1, 0.3, 0.5):
        before = learned(trainer.teacher_encoder)
        trainer.train_on_batch(x)
        students = learned(trainer.encoder)
        for xi, old, theta in zip(learned(trainer.teacher_encoder), before, students, strict=True):
            expected = momentum * old + (1 - momentum) * theta
            np.testing.assert_allclose(xi, expected, rtol=1e-5, atol=1e-6)


def test_cosine_momentum_stops_the_teacher_at_its_end():
    trainer = trained(cosine_momentum(0.5, steps=2), steps=3)
    before = learned(trainer.teacher_encoder)
    trainer.train_on_batch(np.ones((16, 3), "float32"))
    for xi, old in zip(learned(trainer.teacher_encoder), before, strict=True):
        np.testing.assert_array_equal(xi, old)


def test_follows_once_an_optimizer_step():
    one, two = (
        trained(steps=steps, optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
        for steps in (1, 2)
    )
    start = started()
    same = [
        all(
            np.array_equal(a, b)
            for a, b in zip(
                learned(start.teacher_encoder), learned(other.teacher_encoder), strict=True
            )
        )
        for other in (one, two)
    ]
    assert same == [True, False]


def test_does_not_follow_a_step_that_overflowed():
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1), initial_scale=float("inf")
    )
    trainer = trained(optimizer=optimizer)
    start = started()
    assert int(optimizer.iterations) == 0
    for xi, old in zip(
        learned(trainer.teacher_encoder), learned(start.teacher_encoder), strict=True
    ):
        np.testing.assert_array_equal(xi, old)


def test_no_optimizer_sees_the_teacher_and_files_hold_it(tmp_path):
    trainer = trained(steps=3)
    ids = {id(w) for w in trainer.trainable_weights}
    assert len(ids) == 4 and not ids & {id(w) for w in trainer.teacher_encoder.weights}
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    for one, other in zip(trainer.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(loaded.trainable_weights) == 4


@pytest.mark.parametrize(
    "momentum, error",
    [(1.0, ValueError), (-0.1, ValueError), ("0.9", TypeError), (True, TypeError)],
)
def test_bad_momentum_is_refused(momentum, error):
    with pytest.raises(error, match="momentum"):
        Distillation(network(), momentum)


def test_teachers_stay_frozen_when_the_trainer_is_frozen_and_thawed():
    trainer = trained(steps=1)
    trainer.trainable = False
    trainer.compile("sgd")
    assert not trainer.trainable_weights
    trainer.trainable = True
    trainer.compile("sgd")
    assert len(trainer.trainable_weights) == 4


def test_a_teacher_that_no_loss_calls_follows_too():
    class Watched(trainers.SelfSupervisedModel):
        def __init__(self):
            super().__init__(network())
            self.teacher = trainers.EMATeacher(self, ["encoder"], 0.5)

        def embed(self, batch, training):
            return {"error": ops.square(self.encoder(batch.x, training=training) - 1.0)}

    trainer = Watched()
    trainer.compile(keras.optimizers.SGD(0.1))
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
    trainer.build((None, 3))
    before = learned(trainer.encoder)
    trainer.train_on_batch(x)
    for xi, theta, old in zip(
        learned(trainer.teacher_encoder), learned(trainer.encoder), before, strict=True
    ):
        np.testing.assert_allclose(xi, 0.5 * old + 0.5 * theta, rtol=1e-6, atol=1e-7)


def test_a_student_adapted_after_training_changes_its_teacher():
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, size=(64, 3)).astype("float32")
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    trainer = Distillation(keras.Sequential([normalization, keras.layers.Dense(2)]), momentum=0.5)
    trainer.compile(keras.optimizers.SGD(0.0))
    trainer.fit(x, verbose=0)
    losses = [trainer.evaluate(x, verbose=0, return_dict=True)["loss"]]
    kernel, bias = (np.asarray(w, "float64") for w in trainer.encoder.layers[1].weights)
    normalization.adapt(10 * x + 7)
    # the loss is (student - teacher - 1)^2 = 1 if and only if the two are equal
    for _ in range(2):
        trainer.fit(x, verbose=0)
        losses.append(trainer.evaluate(x, verbose=0, return_dict=True)["loss"])
    assert losses == pytest.approx([1.0, 1.0, 1.0])
    mean, deviation = 10 * x.mean(0) + 7, 10 * x.std(0)
    expected = (x - mean) / deviation @ kernel + bias
    for one in (trainer.teacher_encoder, trainer.encoder):
        np.testing.assert_allclose(one(x), expected, rtol=1e-3, atol=1e-4)


def test_a_step_after_adapting_computes_with_the_new_statistics():
    x = np.full((8, 1), 2.0, "float32")
    normalization = keras.layers.Normalization(mean=None)
    normalization.adapt(np.array([[0.0], [4.0]]))

    class Mean(trainers.SelfSupervisedModel):
        def embed(self, batch, training):
            return {"mean": self.encoder(batch.x)}

    dense = keras.layers.Dense(1, kernel_initializer="ones")
    trainer = Mean(keras.Sequential([normalization, dense]))
    trainer.compile(keras.optimizers.SGD(0.0))
    assert trainer.fit(x, verbose=0).history["loss"] == pytest.approx([0.0])
    normalization.adapt(np.array([[0.0], [2.0]]))  # (2 - 1) / 1
    assert trainer.fit(x, verbose=0).history["loss"] == pytest.approx([1.0])
    assert trainer.evaluate(x, verbose=0, return_dict=True)["loss"] == pytest.approx(1.0)


def test_a_loaded_trainer_that_was_not_trained_starts_its_teacher_anew(tmp_path):
    trainer = started()
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    loaded.encoder.set_weights([w + 1 for w in loaded.encoder.get_weights()])
    loaded.compile(keras.optimizers.SGD(0.0))
    loaded.train_on_batch(np.ones((16, 3), "float32"))
    for xi, theta in zip(learned(loaded.teacher_encoder), learned(loaded.encoder), strict=True):
        np.testing.assert_array_equal(xi, theta)


def test_a_loaded_trainer_that_was_trained_keeps_its_teacher(tmp_path):
    trainer = trained(steps=3)
    before = learned(trainer.teacher_encoder)
    trainer.save(tmp_path / "trainer.keras")
    trainer.save_weights(tmp_path / "trainer.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    other = started()
    other.load_weights(tmp_path / "trainer.weights.h5")
    for one in (loaded, other):
        one.compile(keras.optimizers.SGD(0.0))
        one.evaluate(np.ones((16, 3), "float32"), verbose=0)
        for xi, old in zip(learned(one.teacher_encoder), before, strict=True):
            np.testing.assert_array_equal(xi, old)


def test_accumulation_by_the_optimizer_is_refused_under_replicas(two_replicas):
    with two_replicas.scope():
        trainer = Distillation(network())
        for optimizer in (
            keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
            keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
            ),
        ):
            with pytest.raises(ValueError, match="micro_batch_size"):
                trainer.compile(optimizer)


WITH_TEACHERS = (
    *("MoCo on vectors", "MoCo on dictionaries", "BYOL on vectors", "BYOL on dictionaries"),
    *("DINO on vectors", "DINO on dictionaries", "MoCo", "MoCoV3", "BYOL", "DINO", "MSN", "BGRL"),
    *("TiCo", "MMCR", "PMSN", "DenseCL", "CAPI"),
    *("Data2Vec", "IJEPA", "iBOT", "DINOv2"),
    *("Diffusion", "FlowMatching", "LatentDiffusion", "GAN"),
)
METHODS = [name for name in WITH_TEACHERS if " on " not in name]  # of images and graphs


def test_the_list_of_methods_with_teachers_is_complete():
    assert {name for name, case in CASES.items() if case.make()._state.teachers} == {*WITH_TEACHERS}


@pytest.mark.few(5)
@pytest.mark.parametrize("name", METHODS)
def test_teachers_of_every_method_start_from_their_students(name):
    """Weights and flags that were set after the trainer was built, before its first step."""
    case = CASES[name]
    trainer = make(name)
    build(trainer, case.first(32), case.y())
    for teacher in trainer._state.teachers:
        for student, _ in teacher.pairs:
            student.set_weights(
                [w + 1 if w.dtype.kind == "f" else w for w in student.get_weights()]
            )
            for layer in [one for one in all_layers(student)[1:] if one.weights][:1]:
                layer.trainable = False
    trainer.compile(case.sgd())
    trainer.before_steps()
    pairs = [pair for teacher in trainer._state.teachers for pair in teacher.pairs]
    assert pairs
    frozen = 0
    for student, copy in pairs:
        for theta, xi in zip(student.weights, copy.weights, strict=True):
            np.testing.assert_array_equal(np.asarray(theta), np.asarray(xi))
            assert theta is not xi
        flags = [[layer.trainable for layer in all_layers(one)[1:]] for one in (student, copy)]
        assert flags[0] == flags[1]
        frozen += flags[0].count(False)
        assert not copy.trainable_weights
    assert frozen
    # from then on teachers are their own, whatever is set
    kept = [np.asarray(w) for _, copy in pairs for w in copy.weights]
    for student, _ in pairs:
        student.set_weights([w + 1 if w.dtype.kind == "f" else w for w in student.get_weights()])
    trainer.before_steps()
    for w, old in zip((w for _, copy in pairs for w in copy.weights), kept, strict=True):
        np.testing.assert_array_equal(np.asarray(w), old)


@pytest.mark.few(5)
@pytest.mark.parametrize("name", METHODS)
def test_teachers_of_every_method_average_in_float32(name, set_dtype_policy):
    """One step of momentum 0.999 would round to none in bfloat16."""
    set_dtype_policy("bfloat16")
    case = CASES[name]
    trainer = make(name)
    build(trainer, case.first(32), case.y())
    trainer.before_steps()
    for teacher in trainer._state.teachers:
        teacher.momentum = 0.999
        assert teacher._averages
        for student, copy in teacher.pairs:
            low = [w for w in copy.weights if w.dtype == "bfloat16"]
            assert all(id(w) in teacher._averages for w in low)
            student.set_weights(
                [np.ones_like(w) if w.dtype.kind not in "iu" else w for w in student.get_weights()]
            )
            for w in low:
                teacher._averages[id(w)].assign(np.zeros(w.shape))
                w.assign(np.zeros(w.shape))
        for _ in range(100):
            teacher.follow(0, True)
        for student, copy in teacher.pairs:
            for theta, xi in zip(student.weights, copy.weights, strict=True):
                if theta.trainable and xi.dtype == "bfloat16":
                    expected = 1 - 0.999**100
                    np.testing.assert_allclose(np.asarray(xi, "float32"), expected, rtol=5e-3)


def test_a_copy_drops_nothing():
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8),
            keras.layers.Dropout(0.5),
            DropPath(0.5),
        ]
    )
    trainer = Distillation(encoder)
    x = np.ones((64, 4), "float32")
    of_teacher = trainer.teacher_encoder(x, training=True)
    np.testing.assert_allclose(of_teacher, encoder(x, training=False), rtol=1e-6)
    assert np.any(np.asarray(encoder(x, training=True)) == 0)  # the student goes on dropping


def test_statistics_are_copied_for_a_teacher_that_no_loss_calls():
    class Averaged(trainers.SelfSupervisedModel):
        def __init__(self, encoder):
            super().__init__(encoder)
            self.teacher = trainers.EMATeacher(self, ["encoder"], 0.9, copy_statistics=True)

        def embed(self, batch, training):
            return {"error": keras.ops.square(self.encoder(batch.x, training=training) - 1)}

    x = np.random.default_rng(0).normal(3, 2, size=(32, 4)).astype("float32")
    trainer = Averaged(keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()]))
    trainer.compile(keras.optimizers.SGD(0.1))
    trainer.fit(x, batch_size=16, verbose=0)
    gamma, _, mean, variance = trainer.encoder.get_weights()
    of_teacher = trainer.teacher_encoder.get_weights()
    np.testing.assert_array_equal(of_teacher[2], mean)
    np.testing.assert_array_equal(of_teacher[3], variance)
    assert np.all(mean != 0) and np.all(of_teacher[0] != gamma)
