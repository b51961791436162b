import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score, r2_score, top_k_accuracy_score

from keras_ssl import trainers
from tests.trainers.small import encoder, images
from tests.trainers.test_contract import make


def test_probe_leaves_the_encoder_as_it_would_be_without_it():
    x, y = images()
    with_probe, without = make("SimCLR"), make("SimCLR")
    with_probe.compile(keras.optimizers.SGD(0.05), probe=trainers.OnlineProbe(10))
    without.compile(keras.optimizers.SGD(0.05))
    for trainer in (with_probe, without):
        trainer.fit(x[:64], y[:64], batch_size=32, shuffle=False, verbose=0)
    for one, other in zip(with_probe.weights, without.weights, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-6)


def test_probe_learns_what_is_linearly_separable(rng):
    features = rng.normal(size=(512, 8)).astype("float32")
    labels = (features[:, 0] > 0).astype("int64")
    probe = trainers.OnlineProbe(2, optimizer=keras.optimizers.Adam(0.05))
    probe.build((None, 8))
    for _ in range(120):
        probe.learn(features, labels)
    probe.accuracy.reset_state()
    probe.evaluate(features, labels)
    assert float(probe.accuracy.result()) > 0.95


def test_probe_is_saved_with_its_trainer(tmp_path):
    x, y = images()
    trainer = make("SimCLR")
    trainer.compile("adam", probe=trainers.OnlineProbe(10, optimizer=keras.optimizers.Adam(0.01)))
    trainer.fit(x[:64], y[:64], batch_size=32, verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert loaded.probe.classes == 10
    assert int(loaded.probe.optimizer.iterations) == 2
    pairs = zip(trainer.probe.weights, loaded.probe.weights, strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("labels", [None, np.zeros(64, "float32"), np.zeros((64, 2), "int64")])
def test_labels_that_are_missing_or_wrong_are_refused(labels):
    trainer = make("SimCLR")
    trainer.compile("adam", probe=trainers.OnlineProbe(10))
    with pytest.raises(ValueError, match="`probe` needs"):
        trainer.fit(images()[0][:64], labels, verbose=0)
    assert not any(np.any(np.asarray(v)) for v in trainer.optimizer.variables[:1])


def test_probe_on_replicas_equals_probe_on_one(two_replicas):
    results = []
    for strategy in (None, two_replicas):
        keras.utils.set_random_seed(1)
        with strategy.scope() if strategy else keras.name_scope("one"):
            trainer = trainers.SimCLR(encoder())
            probe = trainers.OnlineProbe(10, optimizer=keras.optimizers.SGD(0.1))
            trainer.compile(keras.optimizers.SGD(0.05), probe=probe)
        x, y = images()
        views = (x[:64].astype("float32"), x[:64, :, ::-1].astype("float32"))
        history = trainer.fit(views, y[:64], batch_size=32, shuffle=False, verbose=0).history
        results.append([*map(np.asarray, probe.weights), *history.values()])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.mark.parametrize(
    ("classes", "error"), [(1, ValueError), (2.5, TypeError), ("ten", TypeError)]
)
def test_number_of_classes_is_checked(classes, error):
    with pytest.raises(error, match="classes"):
        trainers.OnlineProbe(classes)


def test_compile_takes_a_probe_only():
    with pytest.raises(TypeError, match="OnlineProbe"):
        make("SimCLR", probe=keras.layers.Dense(10))


def some_labels(missing=0.5, columns=False):
    """Labels of the images, of which a part is missing."""
    y = images()[1].astype("int64").copy()
    y[np.random.default_rng(0).random(len(y)) < missing] = -1
    return y[:, None] if columns else y


@pytest.mark.few(2)
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("as_dataset", [False, True])
def test_missing_labels_are_left_out(jit_compile, as_dataset):
    x, y = images()[0][:64], some_labels(columns=True)[:64]
    trainer = trainers.SimCLR(encoder())
    probe = trainers.OnlineProbe(10, optimizer=keras.optimizers.SGD(0.1))
    trainer.compile(keras.optimizers.SGD(0.05), probe=probe, jit_compile=jit_compile)
    data = (x.astype("float32"), x[:, :, ::-1].astype("float32"))
    if as_dataset:
        logs = trainer.fit(tf.data.Dataset.from_tensor_slices((data, y)).batch(32), verbose=0)
    else:
        logs = trainer.fit(data, y, batch_size=32, verbose=0)
    assert np.isfinite(logs.history["probe_loss"][0])
    results = trainer.evaluate(data, y, batch_size=32, verbose=0, return_dict=True)

    logits = probe(trainer.predict(data[0].astype("float32"), verbose=0)).numpy()
    known = y[:, 0] >= 0
    correct = np.argmax(logits[known], axis=1) == y[known, 0]
    assert results["probe_accuracy"] == pytest.approx(np.mean(correct))
    values = -log_softmax(logits.astype("float64"), axis=1)[known, y[known, 0]]
    assert results["probe_loss"] == pytest.approx(np.mean(values), rel=1e-4)


def test_step_is_that_of_the_mean_over_the_labelled(rng):
    """The gradient in float64 NumPy, from features that the probe has standardised."""
    features, y = rng.normal(size=(12, 4)).astype("float32"), np.arange(12) % 3
    y[[1, 5, 6]] = -1
    weights = rng.uniform(0.5, 2, size=12)
    class_weight = {0: 2.0, 2: 0.5}
    settings = {"optimizer": keras.optimizers.SGD(1.0), "class_weight": class_weight}
    probe = trainers.OnlineProbe(3, **settings)
    probe.build((None, 4))
    kernel, bias = (w.astype("float64") for w in probe.logits.get_weights())
    probe.learn(features, y, weights)

    f = (features - features.mean(0)) / np.sqrt(features.var(0, dtype="float64") + 1e-5)
    p = np.exp(log_softmax(f @ kernel + bias, axis=1))
    w = weights * np.array([2.0, 1.0, 0.5])[y] * (y >= 0)
    error = w[:, None] * (p - np.eye(3)[y]) / w.sum()
    new_kernel, new_bias = probe.logits.get_weights()
    np.testing.assert_allclose(new_kernel, kernel - f.T @ error, atol=1e-5)
    np.testing.assert_allclose(new_bias, bias - error.sum(0), atol=1e-5)


def test_rows_of_weight_0_count_nowhere(rng):
    """Neither in the loss nor in the statistics of the batch, unlike rows without a label."""
    features, y = rng.normal(size=(12, 4)).astype("float32"), np.arange(12) % 3
    y[2] = -1
    weights = (np.arange(12) < 8).astype("float32")
    garbage = np.where(weights[:, None] > 0, features, 1e6).astype("float32")
    results = []
    for data in ((features[:8], y[:8]), (garbage, y, weights)):
        keras.utils.set_random_seed(0)
        probe = trainers.OnlineProbe(3, optimizer=keras.optimizers.SGD(1.0))
        probe.build((None, 4))
        probe.learn(*data)
        results.append([*probe.get_weights(), *(m.result() for m in probe.metrics)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    probe.learn(features, y, 0 * weights)
    assert all(np.isfinite(weight).all() for weight in probe.get_weights())


def test_a_batch_without_labels_teaches_nothing(rng):
    probe = trainers.OnlineProbe(3, optimizer=keras.optimizers.SGD(1.0))
    probe.build((None, 4))
    before = probe.logits.get_weights()
    probe.learn(rng.normal(size=(8, 4)).astype("float32"), np.full(8, -1))
    for one, other in zip(before, probe.logits.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("form", "wrong", "jit_compile"),
    [
        ("arrays", 10, False),
        ("dataset", -2, False),
        ("dataset", 10, True),
        ("validation", -2, False),
        ("validation dataset", 10, False),
        ("evaluate", 10, False),
        ("one batch", 10, True),
        ("one batch to test", -2, False),
    ],
)
def test_labels_out_of_range_are_refused_before_their_step(form, wrong, jit_compile):
    x, good = images()[0][:64], images()[1][:64].astype("int64")
    bad = good.copy()
    bad[1] = wrong
    trainer = make("SimCLR")
    trainer.compile(
        keras.optimizers.SGD(0.05), probe=trainers.OnlineProbe(10), jit_compile=jit_compile
    )
    with pytest.raises(ValueError, match=rf"0\.\.9.*Received:.*{wrong}"):
        if form == "arrays":
            trainer.fit(x, bad, batch_size=32, verbose=0)
        elif form == "dataset":
            data = tf.data.Dataset.from_tensor_slices((x, bad)).batch(32)
            trainer.fit(data, verbose=0)
        elif form == "one batch":
            trainer.train_on_batch(x, bad)
        elif form == "one batch to test":
            trainer.test_on_batch(x, bad)
        elif form == "validation dataset":
            data = tf.data.Dataset.from_tensor_slices((x, bad)).batch(32)
            trainer.fit(x, good, validation_data=data, batch_size=32, verbose=0)
        elif form == "validation":
            trainer.fit(x, good, validation_data=(x, bad), batch_size=32, verbose=0)
        else:
            trainer.evaluate(tf.data.Dataset.from_tensor_slices((x, bad)).batch(32), verbose=0)
    assert int(trainer.optimizer.iterations) == 0


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.x[32 * index : 32 * index + 32], self.y[32 * index : 32 * index + 32]


@pytest.mark.few(1)
@pytest.mark.parametrize("form", ["PyDataset", "generator"])
def test_labels_of_other_data_spare_the_weights(form):
    """Those of a generator are not checked before the step; then the NaN of the probe stops."""
    x, y = images()[0][:64], images()[1][:64].astype("int64")
    y[40] = 99
    trainer = make("SimCLR")
    probe = trainers.OnlineProbe(10)
    trainer.compile(keras.optimizers.SGD(0.05), probe=probe, jit_compile=True)
    data = Batches(x, y)
    if form == "PyDataset":
        with pytest.raises(ValueError, match=r"0\.\.9.*Received: 1 others, such as 99"):
            trainer.fit(data, shuffle=False, verbose=0)
    else:
        data = (batch for batch in [data[0], data[1]])
        with pytest.raises(FloatingPointError, match=r"probe_loss became NaN.*step 2.*labels out"):
            trainer.fit(data, shuffle=False, verbose=0)
    for weight in [*probe.weights, *trainer.weights]:
        assert np.isfinite(np.asarray(weight)).all()


@pytest.mark.full
def test_missing_labels_on_replicas_equal_those_on_one(two_replicas):
    """All labels of the first replica's share are missing in one batch."""
    results = []
    y = images()[1][:64].astype("int64").copy()
    y[:16] = -1
    y[50] = -1
    for strategy in (None, two_replicas):
        keras.utils.set_random_seed(1)
        with strategy.scope() if strategy else keras.name_scope("one"):
            trainer = trainers.SimCLR(encoder())
            metrics = ["accuracy", "balanced_accuracy", "top_3_accuracy"]
            probe = trainers.OnlineProbe(10, keras.optimizers.SGD(0.1), metrics=metrics)
            trainer.compile(keras.optimizers.SGD(0.05), probe=probe)
        x = images()[0]
        views = (x[:64].astype("float32"), x[:64, :, ::-1].astype("float32"))
        history = trainer.fit(views, y, batch_size=32, shuffle=False, verbose=0).history
        results.append([*map(np.asarray, probe.weights), *history.values()])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


def test_metrics_of_classes_equal_scikit_learn(rng):
    features = rng.normal(size=(200, 8)).astype("float32")
    y = np.where(rng.random(200) < 0.7, 0, rng.integers(0, 6, 200))
    names = ["accuracy", "balanced_accuracy", "top_3_accuracy"]
    probe = trainers.OnlineProbe(6, metrics=[*names, keras.metrics.SparseCategoricalAccuracy()])
    probe.build((None, 8))
    y[:20] = -1
    for rows in (slice(0, 90), slice(90, 200)):
        probe.evaluate(features[rows], y[rows])
    logits, known = probe(features).numpy(), y >= 0
    predicted = np.argmax(logits, axis=1)
    found = {metric.name: float(metric.result()) for metric in probe.metrics}
    assert found["probe_accuracy"] == pytest.approx(np.mean(predicted[known] == y[known]))
    assert found["sparse_categorical_accuracy"] == found["probe_accuracy"]
    expected = balanced_accuracy_score(y[known], predicted[known])
    assert found["probe_balanced_accuracy"] == pytest.approx(expected)
    expected = top_k_accuracy_score(y[known], logits[known], k=3, labels=range(6))
    assert found["probe_top_3_accuracy"] == pytest.approx(expected)


def test_multi_label_probe(rng):
    features = rng.normal(size=(512, 8)).astype("float32")
    y = np.stack([features[:, 0] > 0, features[:, 1] > 0.5, features[:, 2] < 0], 1).astype("int64")
    y[rng.random(y.shape) < 0.2] = -1
    probe = trainers.OnlineProbe(3, keras.optimizers.Adam(0.3), task="multi_label")
    probe.check_labels(y)
    probe.build((None, 8))
    for _ in range(30):
        probe.learn(features, y)
    for metric in probe.metrics:
        metric.reset_state()
    probe.evaluate(features, y)
    logits, known = probe(features).numpy().astype("float64"), y >= 0
    accuracy = np.mean((logits > 0)[known] == y[known])
    assert accuracy > 0.95
    assert float(probe.accuracy.result()) == pytest.approx(accuracy)
    values = np.logaddexp(0, np.where(y == 1, -logits, logits))[known]
    assert float(probe.loss_tracker.result()) == pytest.approx(np.mean(values), rel=1e-4)


def test_regression_probe(rng):
    features = rng.normal(size=(512, 8)).astype("float32")
    y = features @ rng.normal(size=(8, 2)).astype("float32") + 3
    y[::7, 1] = np.nan
    probe = trainers.OnlineProbe(2, keras.optimizers.Adam(0.3), task="regression")
    probe.check_labels(y)
    probe.build((None, 8))
    for _ in range(40):
        probe.learn(features, y)
    for metric in probe.metrics:
        metric.reset_state()
    probe.evaluate(features, y)
    known = np.isfinite(y).all(1)
    predicted = probe(features).numpy()[known]
    assert float(probe.accuracy.result()) > 0.9
    expected = r2_score(y[known], predicted)
    assert float(probe.accuracy.result()) == pytest.approx(expected, abs=1e-4)
    expected = np.mean(np.square(predicted - y[known]))
    assert float(probe.loss_tracker.result()) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "probe",
    [
        {"classes": 10, "class_weight": {3: 2.0}, "metrics": ["top_5_accuracy"]},
        {"classes": 2, "task": "regression", "metrics": [keras.metrics.R2Score(name="r2")]},
        {"classes": 10, "task": "multi_label", "by_position": True},
    ],
)
def test_probe_config(probe):
    probe = trainers.OnlineProbe(**probe)
    config = keras.saving.serialize_keras_object(probe)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == probe.get_config()
    assert [one.name for one in again.metrics] == [one.name for one in probe.metrics]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "ranking"}, "`task` must be one of"),
        ({"class_weight": [1.0]}, "one weight for each of 3"),
        ({"class_weight": {3: 1.0}}, r"in 0\.\.2"),
        ({"class_weight": {0: -1.0}}, "class_weight"),
        ({"task": "regression", "class_weight": {0: 2.0}}, "belongs to"),
        ({"metrics": ["top"]}, "`metrics` must hold"),
    ],
)
def test_arguments_of_the_probe_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        trainers.OnlineProbe(3, **arguments)


def test_string_labels_are_refused_with_a_remedy():
    trainer = make("SimCLR")
    trainer.compile("adam", probe=trainers.OnlineProbe(10))
    with pytest.raises(ValueError, match=r"np\.unique"):
        trainer.fit(images()[0][:64], np.array(["cat", "dog"] * 32), verbose=0)


@pytest.fixture(params=["mixed_float16", "float64"])
def precision(request):
    before = keras.config.floatx(), keras.config.dtype_policy()
    if request.param == "float64":
        keras.config.set_floatx("float64")
    keras.config.set_dtype_policy(request.param)
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.parametrize("task", ["classification", "multi_label", "regression"])
def test_missing_labels_in_other_precisions(precision, task, rng):
    y = {
        "classification": np.arange(16) % 3,
        "multi_label": np.arange(48).reshape(16, 3) % 2,
        "regression": rng.normal(size=(16, 3)),
    }[task]
    y[::3] = np.nan if task == "regression" else -1
    probe = trainers.OnlineProbe(3, keras.optimizers.SGD(0.1), task=task)
    probe.build((None, 8))
    features = keras.ops.convert_to_tensor(rng.normal(size=(16, 8)), keras.config.floatx())
    before = probe.logits.get_weights()
    probe.learn(features, y)
    assert np.isfinite(float(probe.loss_tracker.result()))
    for one, other in zip(before, probe.logits.get_weights(), strict=True):
        assert np.isfinite(other).all()
        assert not np.array_equal(one, other)


def test_labels_of_distillation_in_other_precisions(precision, rng):
    def classifier():
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])

    trainer = trainers.KnowledgeDistillation(classifier(), teacher=classifier())
    trainer.compile("sgd")
    y = np.where(np.arange(16) % 3 == 0, -1, np.arange(16) % 3)
    logs = trainer.fit(rng.normal(size=(16, 8)), y, verbose=0).history
    assert np.isfinite(logs["hard"][0])


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (np.eye(10, dtype="float32"), "argmax"),
        (np.eye(10, dtype="int32"), "argmax"),
        (np.arange(10.0), "astype"),
        (np.arange(10) > 4, "astype"),
    ],
)
def test_labels_of_the_wrong_form_are_refused_with_the_remedy(labels, hint):
    with pytest.raises(ValueError, match=hint):
        trainers.OnlineProbe(10).check_labels(keras.ops.convert_to_tensor(labels))


def test_the_error_of_a_dataset_shows_the_wrong_labels():
    trainer = make("SimCLR")
    trainer.compile("sgd", probe=trainers.OnlineProbe(10))
    data = tf.data.Dataset.from_tensor_slices((images()[0][:32], np.full(32, 12)))
    with pytest.raises(ValueError, match=r"0\.\.9\. Received: \[12 12"):
        trainer.fit(data.batch(32), verbose=0)
