"""Tests of two worker processes on this machine, which run `tests/distribute/pair.py`."""

import re

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("several workers need the TensorFlow backend", allow_module_level=True)

from keras_ssl import layers  # noqa: E402
from tests.distribute import plain  # noqa: E402
from tests.distribute.primitives import data, run_primitives  # noqa: E402
from tests.trainers.cases import CASES  # noqa: E402
from tests.trainers.runs import batches, make  # noqa: E402
from tests.trainers.small import tokens  # noqa: E402


def assert_close(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance)


def test_primitives_give_workers_the_results_of_replicas(two_workers, two_replicas):
    x, weights = data()
    workers = [two_workers("primitives")[i] for i in range(2)]
    for index, found in enumerate(workers):
        np.testing.assert_array_equal(found["gathered"][0], x)
        assert found["index"] == index and found["count"] == 2
    together = {name: np.concatenate([w[name] for w in workers]) for name in workers[0]}
    # the losses of both workers use every row, so its gradient is the sum of both
    np.testing.assert_allclose(together["gradient"], 2 * weights.sum(axis=0) * x, rtol=1e-6)
    np.testing.assert_array_equal(together["own rows"], x)
    replicas = run_primitives(two_replicas)
    np.testing.assert_array_equal(together["drawn"], replicas["drawn"])


def test_batch_normalization_uses_the_whole_batch(two_workers):
    x, weight = plain.normalisation_data()
    layer = layers.SyncBatchNormalization()
    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        y = layer(inputs, training=True)
        loss = tf.reduce_sum(weight * y)
    chief, other = two_workers("synchronised_normalisation")
    for name, value in (("y", y), ("gradient", tape.gradient(loss, inputs))):
        together = np.concatenate([chief[name], other[name]])
        np.testing.assert_allclose(together, value, rtol=1e-4, atol=1e-5)
    for found in (chief, other):
        np.testing.assert_allclose(found["mean"], layer.moving_mean, rtol=1e-5)
        np.testing.assert_allclose(found["variance"], layer.moving_variance, rtol=1e-5)


@pytest.mark.parametrize("name", plain.MODELS)
def test_plain_keras_model_trains_as_on_one_device(two_workers, name):
    alone = plain.compiled(plain.MODELS[name])  # without the mix-in
    expected = plain.results(alone, only_fit=name == "subclassed")
    for found in two_workers("mixed_in"):
        prefix = f"{name} "
        found = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
        assert_close(found, expected)


def test_keras_alone_cannot_train_on_several_workers(two_workers):
    """If this fails, Keras has fixed issue 20585; then parts of `_steps.py` can be removed."""
    for found in two_workers("keras_alone"):
        assert "PerReplica" in str(found["message"])


def test_shuffled_arrays_and_joint_steps_train_as_on_one_device(two_workers):
    trainer = make("masked tokens", steps_per_execution=2)
    x = tokens()
    history = trainer.fit(x, batch_size=32, epochs=2, validation_data=x[:64], verbose=0)
    logs = {f"log {name}": values for name, values in history.history.items()}
    weights = {f"weight {i}": np.asarray(w) for i, w in enumerate(trainer.weights)}
    for found in two_workers("arrays"):
        assert_close(found, logs | weights)


def test_last_execution_of_fewer_steps_trains_as_on_one_device(two_workers):
    expected = plain.results(plain.compiled(plain.functional))
    for found in two_workers("last_execution"):
        assert_close(found, expected)


def test_losses_in_chunks_and_micro_batches_are_those_of_one_device(two_workers):
    trainer = CASES["SimCLR"].make()
    trainer.compile(keras.optimizers.SGD(0.05))
    logs = trainer.fit(batches("SimCLR"), verbose=0).history
    largest = max(np.abs(weight).max() for weight in trainer.get_weights())
    for found in two_workers("in_parts"):
        for number, weight in enumerate(trainer.get_weights()):
            assert np.abs(found[f"weight {number}"] - weight).max() <= 1e-5 * largest
        np.testing.assert_allclose(found["log loss"], logs["loss"], rtol=1e-5)


def test_each_example_is_seen_once_per_epoch_in_the_order_of_workers(two_workers):
    chief, other = two_workers("seen_rows")
    # batches have 6 of 20 examples, so the last two are dropped
    for name, scale in (("ready", 1), ("shared", 10), ("shared again", 10), ("summed", 1)):
        together = np.concatenate([chief[name], other[name]], axis=1)
        np.testing.assert_array_equal(together.ravel(), scale * np.arange(18))
    assert chief["cardinality"] == other["cardinality"] == 3


def test_only_the_chief_writes(two_workers):
    chief, other = two_workers("what_callbacks_write")
    assert chief["seen"].tolist() == other["seen"].tolist() == [0, 1]
    assert chief["chiefs"].tolist() == [0, 1] and other["chiefs"].tolist() == []
    written = [name for name in chief["written"].tolist() if name != "tensorboard"]
    assert written == ["1.keras", "2.keras", "log.csv"]
    assert other["written"].tolist() == []
    # both histories have the chief's measurements and the validation losses
    logs = {name for name in chief if name.startswith("log ")}
    assert {"log knn_accuracy", "log effective_rank", "log val_probe_accuracy"} <= logs
    for name in logs:
        assert chief[name].shape == (2,)
        np.testing.assert_array_equal(chief[name], other[name])


def test_the_chief_draws_samples_while_both_train(two_workers):
    chief, other = two_workers("grids_of_samples")
    pictures = [f"epoch_{number:04}.png" for number in (0, 2, 3)]
    assert chief["written"].tolist() == pictures and other["written"].tolist() == []
    np.testing.assert_array_equal(chief["weights"], other["weights"])


def test_all_workers_stop_early_by_a_metric_of_the_chief(two_workers):
    chief, other = two_workers("all_stop_together")
    np.testing.assert_allclose(chief["log knn_accuracy"], [0.9, 0.8])
    for name, value in chief.items():
        np.testing.assert_array_equal(other[name], value)


def test_backup_of_keras_is_restored_on_all_workers(two_workers):
    chief, other = two_workers("keras_backup")
    assert chief["starts"].tolist() == other["starts"].tolist() == [0, 1]
    for name, value in chief.items():
        np.testing.assert_array_equal(other[name], value)
    for found in two_workers("backup_that_one_worker_has"):
        assert "by replica: [1, 0]" in str(found["message"])


def test_chief_predicts_saves_and_evaluates_alone(two_workers):
    chief, other = two_workers("alone")
    assert "features" not in other
    assert chief["features"].shape == (7, 16)
    for name in ("extracted", "loaded", "one batch"):
        np.testing.assert_allclose(chief[name], chief["features"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("generator", r"from_generator.*Received: generator"),
        ("odd", r"divisible by the number of replicas, 2. Received: batch_size=3"),
        ("partial", "drop_remainder=True"),
        ("partial validation", "of `validation_data` must be full.*drop_remainder=True"),
        ("odd validation", "of `validation_data` must be divisible by the number of replicas, 2"),
        ("small validation", "smaller `validation_batch_size`. Received: 2 examples"),
        ("lengths", "`x` must hold equally many examples. Received: 8, 6"),
        ("class weight", "sample_weight"),
        ("split", "validation_data"),
        ("made outside", r"made outside, and `fit` under MultiWorkerMirroredStrategy"),
        ("part made outside", r"dense_\d+/kernel` was made outside"),
        ("optimizer made outside", r"sgd_\d+/iteration` was made outside"),
    ],
)
def test_all_workers_reject_bad_arguments(two_workers, name, message):
    for found in two_workers("refusals"):
        assert str(found[name]).startswith("ValueError")
        assert re.search(message, str(found[name]))


def test_workers_with_different_data_raise_instead_of_waiting(two_workers):
    chief, other = two_workers("refusals")
    assert str(chief["unlike"]).startswith("RuntimeError: Another worker stopped")
    expected = "batches of x of 1 in this worker, and of 2 in the chief"
    assert expected in str(other["unlike"])
    assert str(chief["chief failed"]) == "OSError: no space"
    assert str(other["chief failed"]) == "RuntimeError: The chief failed: OSError: no space"


def test_value_of_the_chief_is_sent_to_all_workers(two_workers):
    chief, other = two_workers("on_chief")
    assert str(chief["value"]) == str(other["value"])
    assert "'who': True" in str(other["value"]) and "inf" in str(other["value"])
