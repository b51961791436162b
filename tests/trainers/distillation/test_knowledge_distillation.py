"""Knowledge distillation: losses of the paper and of Keras, frozen teacher, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.distillation import DistillationLoss, FeatureDistillation, LogitsDistillation
from scipy.special import log_softmax

from keras_ssl import augment, trainers
from tests.trainers.case import BAD_SINGLE_VIEW, Case
from tests.trainers.small import dense, encoder, images, scaled_images


def _classifier(width: int, scale: float = 1.0) -> keras.Model:
    """Return a classifier with a named hidden layer; a large scale makes it confident."""
    kernel = keras.initializers.VarianceScaling(scale)
    return keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            *encoder().layers,
            keras.layers.Dense(width, "relu"),
            keras.layers.Dense(16, "relu", name="hidden"),
            keras.layers.Dense(10, kernel_initializer=kernel),
        ]
    )


def small_knowledge_distillation() -> trainers.KnowledgeDistillation:
    return trainers.KnowledgeDistillation(
        _classifier(16),
        teacher=_classifier(32, scale=2000.0),
        distillation_losses=[
            keras.distillation.LogitsDistillation(temperature=2.0),
            keras.distillation.FeatureDistillation("mse", "hidden", "hidden"),
        ],
        distillation_loss_weights=[1.0, 0.1],
        student_loss_weight=0.1,
    )


CASES = {
    "KnowledgeDistillation": Case(
        make=small_knowledge_distillation,
        decreasing_loss="distillation",
        decrease=0.3,
        epochs=20,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        bad_data=BAD_SINGLE_VIEW,
        labelled=True,
    ),
}


RATE = 0.5


def student(classes=10):
    return dense(16, classes, inputs=784)


def teacher(classes=10, scale=3.0):
    made = dense(32, classes, inputs=784)
    made.set_weights([scale * weight for weight in made.get_weights()])
    return made


def make(**arguments):
    keras.utils.set_random_seed(3)
    parts = {"encoder": student(), "teacher": teacher(), **arguments}
    trainer = trainers.KnowledgeDistillation(**parts)
    trainer.compile(keras.optimizers.SGD(RATE))
    return trainer


def data(count=32):
    return scaled_images()[:count], images()[1][:count]


def softmax(z, temperature=1.0):
    z = np.asarray(z, "float64") / temperature
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def terms(trainer, x, y, temperature):
    """Return the hard and the soft loss in float64."""
    z, v = trainer.encoder(x), trainer.teacher(x)
    hard = -np.log(softmax(z)[np.arange(len(y)), y]).mean()
    p, q = softmax(v, temperature), softmax(z, temperature)
    return hard, temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()


@pytest.mark.parametrize(
    "loss", ["kl_divergence", keras.losses.KLDivergence()], ids=["name", "object"]
)
@pytest.mark.parametrize(("alpha", "temperature"), [(0.5, 3.0), (0.1, 1.0), (1.0, 8.0)])
def test_loss_matches_the_paper(loss, alpha, temperature):
    trainer = make(
        distillation_losses=LogitsDistillation(temperature, loss), student_loss_weight=alpha
    )
    x, y = data()
    logs = trainer.evaluate(x, y, verbose=0, return_dict=True)
    hard, soft = terms(trainer, x, y, temperature)
    assert logs["hard"] == pytest.approx(alpha * hard, rel=1e-5)
    assert logs["distillation"] == pytest.approx((1 - alpha) * soft, rel=1e-4)
    assert logs["loss"] == pytest.approx(alpha * hard + (1 - alpha) * soft, rel=1e-4)


def test_teacher_runs_without_dropout_and_keeps_its_statistics():
    """In training, too: the loss is that of its predictions, at every step."""
    taught = keras.Sequential(
        [
            keras.layers.Input((784,)),
            keras.layers.Dense(32, "relu"),
            keras.layers.Dropout(0.5),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10),
        ]
    )
    trainer = make(teacher=taught, distillation_losses=LogitsDistillation(2.0))
    trainer.compile(keras.optimizers.SGD(0.0))
    x, y = data()
    before = taught.get_weights()
    logs = trainer.fit(x, y, batch_size=32, epochs=2, verbose=0).history
    expected = 0.5 * terms(trainer, x, y, 2.0)[1]
    np.testing.assert_allclose(logs["distillation"], expected, rtol=1e-4)
    for weight, old in zip(taught.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_without_labels_the_loss_is_the_soft_loss():
    trainer = make(student_loss_weight=0)
    x, y = data()
    logs = trainer.evaluate(x, verbose=0, return_dict=True)
    assert set(logs) == {"loss"}
    assert logs["loss"] == pytest.approx(terms(trainer, x, y, 3.0)[1], rel=1e-4)
    # labels are allowed, such as for the probe
    assert trainer.evaluate(x, y, verbose=0, return_dict=True) == logs


def test_step_follows_the_analytic_gradient():
    """dL/dz = α (softmax(z) - y) + (1 - α) T (softmax(z / T) - softmax(v / T))."""
    trainer = make(
        encoder=dense(10, inputs=784),
        distillation_losses=LogitsDistillation(4.0),
        student_loss_weight=0.3,
    )
    x, y = data()
    z, v = trainer.encoder(x), trainer.teacher(x)
    before = trainer.encoder.get_weights()
    trainer.fit(x, y, batch_size=32, verbose=0)
    of_logits = 0.3 * (softmax(z) - np.eye(10)[y]) + 0.7 * 4.0 * (softmax(z, 4.0) - softmax(v, 4.0))
    for weight, expected in zip(
        trainer.encoder.get_weights(),
        [
            before[0] - RATE * x.T.astype("float64") @ of_logits / 32,
            before[1] - RATE * of_logits.mean(axis=0),
        ],
        strict=True,
    ):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=2e-6)


def test_teacher_is_frozen_and_runs_in_inference_mode():
    noisy = keras.Sequential(
        [teacher(), keras.layers.BatchNormalization(), keras.layers.Dropout(0.9)]
    )
    noisy.build((None, 784))
    trainer = make(teacher=noisy, student_loss_weight=0)
    trainer.compile(keras.optimizers.Adam(1e-2))
    before = noisy.get_weights()
    trainer.fit(data()[0], epochs=2, verbose=0)
    for one, other in zip(before, noisy.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(trainer.trainable_weights) == 4
    assert len(trainer.optimizer.variables) == 2 + 2 * 4  # iterations, rate, two moments per weight


def test_teacher_stays_frozen_if_the_trainer_is_set_trainable():
    trainer = make()
    trainer.trainable = True
    trainer.compile("sgd")
    trainer.fit(*data(), verbose=0)
    assert len(trainer.trainable_weights) == 4


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class SubclassedTeacher(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.logits = keras.layers.Dense(10)

    def call(self, x):
        return self.logits(x)


def test_subclassed_teacher_is_frozen_after_loading(tmp_path):
    subclassed = SubclassedTeacher()
    subclassed(scaled_images()[:1])
    trainer = make(teacher=subclassed, student_loss_weight=0)
    trainer.compile("adam")
    trainer.fit(scaled_images()[:32], verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert len(loaded.trainable_weights) == len(trainer.trainable_weights) == 4
    for one, other in zip(trainer.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_student_learns_from_the_teacher_and_both_are_saved(tmp_path):
    trainer = make(student_loss_weight=0)
    trainer.compile(keras.optimizers.Adam(1e-2))
    x = scaled_images()

    def agreement(model):
        of_student, of_teacher = (
            np.argmax(one(x), axis=1) for one in (model.encoder, model.teacher)
        )
        return np.mean(of_student == of_teacher)

    before = agreement(trainer)
    trainer.fit(x, batch_size=32, epochs=20, verbose=0)
    assert agreement(trainer) > before + 0.2
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    np.testing.assert_array_equal(loaded.teacher(x), trainer.teacher(x))
    assert loaded.teacher.trainable is False


class Squares(DistillationLoss):
    """A custom loss: a mean over examples."""

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return keras.ops.mean(keras.ops.square(teacher_outputs - student_outputs))


def named(hidden, width=16):
    """Return a classifier with a named hidden layer."""
    hidden = keras.layers.Dense(width, "relu", name=hidden)
    return keras.Sequential([keras.Input((784,)), hidden, keras.layers.Dense(10)])


def test_losses_are_weighted_and_may_compare_hidden_layers():
    trainer = make(
        encoder=named("narrow"),
        teacher=named("wide"),
        distillation_losses=[
            LogitsDistillation(2.0),
            FeatureDistillation(keras.losses.MeanAbsoluteError(), "wide", "narrow"),
            Squares(),
        ],
        distillation_loss_weights=[1.0, 0.5, 2],
        student_loss_weight=0.25,
    )
    x, y = data()
    logs = trainer.evaluate(x, y, verbose=0, return_dict=True)
    _, soft = terms(trainer, x, y, 2.0)
    models = (trainer.teacher, trainer.encoder)
    hidden = [np.asarray(one.layers[0](x), "float64") for one in models]
    outputs = [np.asarray(one(x), "float64") for one in models]
    expected = (
        soft
        + 0.5 * np.abs(hidden[0] - hidden[1]).mean()
        + 2 * np.square(outputs[0] - outputs[1]).mean()
    )
    assert logs["distillation"] == pytest.approx(0.75 * expected, rel=1e-4)


@pytest.mark.parametrize("one", [Squares(), FeatureDistillation("mse"), LogitsDistillation()])
def test_losses_are_means_over_all_replicas(one, two_replicas):
    """Keras divides by the number of replicas the values of its loss objects only."""
    x, y = data()
    arguments = {"distillation_losses": one, "student_loss_weight": 0.5}
    alone = make(**arguments)
    with two_replicas.scope():
        shared = make(**arguments)
    logs = [
        trainer.fit(x, y, batch_size=16, shuffle=False, verbose=0).history
        for trainer in (alone, shared)
    ]
    for name in ("hard", "distillation"):
        assert logs[1][name] == pytest.approx(logs[0][name], rel=1e-5)
    for weight, other in zip(alone.get_weights(), shared.get_weights(), strict=True):
        np.testing.assert_allclose(other, weight, rtol=0, atol=1e-5)


def test_teacher_and_student_see_the_same_view():
    class Seen(keras.layers.Layer):
        """A linear layer that stores its input."""

        def build(self, shape):
            self.kernel = self.add_weight(shape=(784, 10))

        def call(self, x):
            self.seen = x
            return keras.ops.reshape(x, (-1, 784)) @ self.kernel

    both = [Seen(), Seen()]
    both[1].build(None)
    both[1].built = True
    flips = augment.RandomHorizontalFlip(1.0)
    trainer = make(encoder=both[0], teacher=both[1], augment=flips, student_loss_weight=0)
    trainer.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    x = images()[0][:8]
    trainer.train_on_batch(x)
    np.testing.assert_array_equal(both[0].seen, both[1].seen)
    np.testing.assert_allclose(both[1].seen, x[:, :, ::-1], atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": None}, TypeError, "`encoder` must be a Keras Layer"),
        ({"teacher": "resnet"}, TypeError, "`teacher` must be a Keras Layer"),
        ({"teacher": keras.Sequential([keras.layers.Dense(10)])}, ValueError, "no weights yet"),
        ({"teacher": keras.layers.ReLU()}, ValueError, "no weights yet"),
        ({"augment": "flip"}, TypeError, "augment"),
        ({"student_loss": "mse"}, TypeError, "`student_loss` must be a Keras Loss"),
        (
            {"student_loss_weight": 1.5},
            ValueError,
            "`student_loss_weight` must be a number from 0 to 1.*1.5",
        ),
        ({"student_loss_weight": -1}, ValueError, "student_loss_weight=-1"),
        ({"student_loss_weight": "half"}, TypeError, "student_loss_weight='half'"),
        ({"distillation_losses": "kl"}, TypeError, "DistillationLoss.*kl"),
        ({"distillation_losses": []}, ValueError, "at least one loss"),
        ({"distillation_loss_weights": [1, 2]}, ValueError, "2 weights and 1 losses"),
        ({"distillation_loss_weights": [-1]}, ValueError, "at least 0"),
        ({"distillation_loss_weights": 1.0}, TypeError, "list of numbers"),
        (
            {"distillation_losses": FeatureDistillation("mse", "nowhere")},
            ValueError,
            "`teacher` must have a layer.*'nowhere'",
        ),
        (
            {
                "encoder": keras.layers.Dense(10),
                "distillation_losses": FeatureDistillation("mse", None, "hidden"),
            },
            ValueError,
            "`encoder` must be a functional or sequential model",
        ),
        (
            {"distillation_losses": FeatureDistillation(["mse", keras.losses.MeanSquaredError()])},
            ValueError,
            "either Keras losses or functions",
        ),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize("argument", ["encoder", "teacher"])
@pytest.mark.parametrize(
    "end",
    [
        lambda: keras.layers.Dense(10, activation="softmax"),
        lambda: keras.layers.Activation("softmax"),
        lambda: keras.Sequential([keras.layers.Dense(10), keras.layers.Softmax()]),
    ],
)
def test_softmax_outputs_are_rejected_if_logits_are_compared(argument, end):
    model = keras.Sequential([keras.layers.Input((784,)), keras.layers.Dense(10), end()])
    with pytest.raises(ValueError, match=f"`{argument}` must return logits"):
        make(**{argument: model})
    make(**{argument: model}, distillation_losses=FeatureDistillation("mse"))


def test_student_that_shares_weights_with_the_teacher_is_rejected():
    shared = student()
    with pytest.raises(ValueError, match=r"must not share weights.*4 shared"):
        make(encoder=shared, teacher=keras.Sequential([shared, keras.layers.ReLU()]))


@pytest.mark.parametrize(
    ("arguments", "x", "y", "message"),
    [
        ({"teacher": teacher(7)}, 0, 1, r"same number of classes.*\(batch, 7\).*\(batch, 10\)"),
        (
            {
                "encoder": named("a", 8),
                "teacher": named("b"),
                "distillation_losses": FeatureDistillation("mse", "b", "a"),
            },
            0,
            1,
            r"same shape in the compared layers.*b of shape \(batch, 16\).*a of shape \(batch, 8\)",
        ),
        ({}, 0, None, "or `student_loss_weight=0`"),
        ({}, (0, 0), 1, "Expected one batch of input"),
        ({"augment": augment.SimCLRViews(28)}, None, 1, "Expected one batch of input"),
    ],
)
def test_invalid_data_is_rejected_before_the_first_step(arguments, x, y, message):
    trainer = make(**arguments)
    of = {0: data()[0], 1: data()[1]}
    x = images()[0][:32] if x is None else keras.tree.map_structure(of.get, x)
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, of.get(y), verbose=0)
    assert int(trainer.optimizer.iterations) == 0


@pytest.mark.parametrize("as_dataset", [False, True])
def test_hard_loss_is_the_mean_over_the_labelled(as_dataset):
    trainer = make(student_loss_weight=0.5)
    x, y = scaled_images()[:32], images()[1][:32].astype("int64")[:, None].copy()
    y[::3] = -1
    data = (x, y)
    if as_dataset:
        data = (tf.data.Dataset.from_tensor_slices(data).batch(32),)
    found = trainer.evaluate(*data, batch_size=32, verbose=0, return_dict=True)
    logits = trainer.encoder(x).numpy().astype("float64")
    known = y[:, 0] >= 0
    values = -log_softmax(logits, axis=1)[known, y[known, 0]]
    assert found["hard"] == pytest.approx(0.5 * values.mean(), rel=1e-5)
    trainer.fit(*data, batch_size=32, verbose=0)
    assert all(np.isfinite(weight).all() for weight in trainer.get_weights())


def test_hard_loss_of_replicas_is_the_mean_over_the_labelled_of_all(two_replicas):
    x, y = scaled_images()[:32], images()[1][:32].astype("int64").copy()
    y[:12] = -1  # most of the first replica's share
    results = []
    for scope in (keras.name_scope("one"), two_replicas.scope()):
        with scope:
            trainer = make(student_loss_weight=0.5)
        history = trainer.fit(x, y, batch_size=32, shuffle=False, verbose=0).history
        results.append([history["hard"], *trainer.get_weights()])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_labels_out_of_range_are_rejected_before_the_step(as_dataset, jit_compile):
    trainer = make(student_loss_weight=0.5)
    trainer.compile(keras.optimizers.SGD(RATE), jit_compile=jit_compile)
    before = trainer.get_weights()
    data = (scaled_images()[:32], np.append(images()[1][:31].astype("int64"), 10))
    if as_dataset:
        data = (tf.data.Dataset.from_tensor_slices(data).batch(32),)
    with pytest.raises(ValueError, match=r"0\.\.9.*10"):
        trainer.fit(*data, batch_size=32, verbose=0)
    for one, other in zip(before, trainer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
