"""What every trainer must do, over all of them.

Tests under `each_trainer` run for all trainers by default, those under `each_shape` for one trainer
of each shape. Tests under `costly` run for some of these shapes, by default or among the slow
tests. What is left runs among the `full` tests.
"""

import gc
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import trainers
from keras_ssl._keras_internals import global_seed_state
from keras_ssl.callbacks import BackupAndResume
from keras_ssl.distribute import replicas
from tests.callbacks.interrupted import InterruptAt, assert_same_bits
from tests.tpu.obstacles import tpu_obstacles
from tests.trainers.cases import CASES, costly, each_shape, each_trainer
from tests.trainers.runs import batches, build, learn, make, set_state, state_of
from tests.trainers.small import images


@dataclass
class Run:
    """A trainer after training, and how it came there."""

    trainer: keras.Model
    logs: dict
    initial: list[np.ndarray]
    final: list[np.ndarray]


@pytest.fixture(scope="module")
def _learned_once(name):
    trainer, history = learn(name, seed=1)
    yield Run(trainer, history, [], state_of(trainer))
    del trainer
    gc.collect()


@pytest.fixture(scope="module")
def _trained_once(name):
    trainer = make(name)
    build(trainer, CASES[name].first(32), CASES[name].y())
    initial = state_of(trainer)
    history = trainer.fit(batches(name), verbose=0).history
    yield Run(trainer, history, initial, state_of(trainer))
    del trainer
    gc.collect()


@pytest.fixture
def learned(_learned_once):
    """The run of the learning test, traced once for all tests that need a trained trainer."""
    set_state(_learned_once.trainer, _learned_once.final)
    return _learned_once


@pytest.fixture
def trained(_trained_once):
    """Four steps of SGD on `batches`, traced once: what other runs are compared with."""
    set_state(_trained_once.trainer, _trained_once.final)
    return _trained_once


def assert_equal_weights(a, b, tolerance):
    assert len(a.weights) == len(b.weights) > 0
    for one, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), rtol=0, atol=tolerance)


def _as_constant(draw):
    def constant(shape, *args, seed=None, **kwargs):
        with tf.init_scope():  # leaves the graph: the numbers are drawn now, by a kernel
            values = draw(shape, *args, seed=7, **kwargs).numpy()
        return tf.constant(values)

    return constant


@each_trainer
def test_loss_decreases_on_real_data(name, learned):
    case = CASES[name]
    assert case.decrease_in(learned.logs) > case.decrease > 0
    assert np.all(np.isfinite(learned.logs["loss"]))


@each_trainer
def test_representation_is_what_the_model_returns(name, learned):
    trainer, x = learned.trainer, CASES[name].first(8)
    features = trainer.predict(x, verbose=0)
    assert features.shape[0] == 8 and features.ndim in (2, 3)  # of examples or their nodes
    np.testing.assert_allclose(features, trainer(x).numpy(), rtol=1e-5, atol=1e-5)


@each_trainer
def test_loaded_trainer_is_the_saved_one(name, learned, tmp_path):
    """All variables of it and of its optimizers, and what it computes."""
    trainer, loaded = learned.trainer, _saved_and_loaded(learned.trainer, tmp_path)
    x = CASES[name].first(16)
    np.testing.assert_allclose(loaded(x).numpy(), trainer(x).numpy(), rtol=1e-6, atol=1e-6)
    for one, other in zip(state_of(trainer), state_of(loaded), strict=True):
        np.testing.assert_array_equal(other, one)


@each_shape
def test_loaded_trainer_continues_as_if_never_stopped(name, learned, tmp_path):
    trainer, loaded = learned.trainer, _saved_and_loaded(learned.trainer, tmp_path)
    x, y = CASES[name].first(128), CASES[name].y()
    for one in (trainer, loaded):
        # in the order of the data, as arrays: the first trainer has traced that already
        one.fit(x, None if y is None else y[:128], batch_size=32, shuffle=False, verbose=0)
    assert_equal_weights(trainer, loaded, tolerance=1e-6)


def _saved_and_loaded(trainer, folder):
    trainer.save(folder / "trainer.keras")
    return keras.saving.load_model(folder / "trainer.keras")  # safe mode is the default


@costly("tokens", slow=("memory bank", "two optimizers"))
def test_interrupted_trainer_ends_with_the_bits_of_an_uninterrupted_one(
    name, tmp_path, deterministic
):
    """In the middle of the second epoch; with the probe, its optimizer and all metrics."""
    x, y = CASES[name].first(96), CASES[name].probed()[:96]

    def compiled():
        keras.utils.set_random_seed(1)  # for the probe
        probe = trainers.OnlineProbe(10, by_position=y.ndim > 1)
        trainer = make(name, CASES[name].optimizer(), probe=probe)
        build(trainer, x, y)
        return trainer

    def train(trainer, *callbacks):
        keras.utils.set_random_seed(1)
        options = {"batch_size": 32, "epochs": 2, "verbose": 0}
        return trainer.fit(x, y, callbacks=list(callbacks), **options).history

    first = compiled()
    initial = state_of(first)
    with pytest.raises(KeyboardInterrupt):
        train(first, BackupAndResume(tmp_path, every_steps=1), InterruptAt(1, 1))
    set_state(first, initial)
    logs = train(first)
    resumed = compiled()
    logs_again = train(resumed, BackupAndResume(tmp_path))
    assert_same_bits(first, resumed)
    assert logs_again == logs


@each_shape
def test_saved_weights_load_into_a_new_trainer(name, learned, tmp_path):
    learned.trainer.save_weights(tmp_path / "trainer.weights.h5")
    fresh = make(name, CASES[name].optimizer())
    build(fresh, CASES[name].first(32), CASES[name].y())
    assert any(
        np.abs(np.asarray(one) - np.asarray(other)).max() > 1e-3
        for one, other in zip(fresh.weights, learned.trainer.weights, strict=True)
    )
    fresh.load_weights(tmp_path / "trainer.weights.h5")
    assert_equal_weights(learned.trainer, fresh, tolerance=1e-7)


@each_trainer
def test_config_makes_an_equal_trainer(name):
    trainer = make(name)
    copy = type(trainer).from_config(trainer.get_config())
    assert copy.get_config() == trainer.get_config()


@costly("labels", slow=("batch normalization", "queue", "memory bank", "two optimizers"))
def test_two_replicas_end_with_the_weights_of_one(name, trained, two_replicas):
    with two_replicas.scope():
        two = make(name)
    logs = two.fit(batches(name), verbose=0).history
    tolerance = 1e-4 if CASES[name].normalized else 5e-6
    assert_equal_weights(trained.trainer, two, tolerance)
    for key in logs:
        np.testing.assert_allclose(trained.logs[key], logs[key], rtol=1e-4)


@costly("two optimizers", slow=("batch normalization", "queue", "crops", "graph"))
def test_two_workers_end_with_the_weights_of_one_device(name, trained, two_workers):
    # Relative to the largest weight. Some have no scale of their own: the gradient of a bias before
    # batch normalisation is 0, and what is there are rounding errors.
    one, logs = trained.trainer, trained.logs
    largest = max(np.abs(weight).max() for weight in one.get_weights())
    for found in two_workers(f"exactness {name}"):
        assert {key.removeprefix("log ") for key in found if key.startswith("log ")} == set(logs)
        for number, weight in enumerate(one.get_weights()):
            difference = np.abs(found[f"weight {number}"] - weight).max()
            assert difference <= 1e-5 * largest, one.weights[number].path
        for key, values in logs.items():
            np.testing.assert_allclose(found[f"log {key}"], values, rtol=1e-5)


@costly("sampling", slow=("batch normalization", "teacher", "queue", "graph", "tokens"))
def test_xla_step_equals_the_plain_step(name, monkeypatch):
    # XLA draws other numbers from a seed than TensorFlow's kernels do, so draws are held constant
    for draw in ("uniform", "normal", "randint"):
        monkeypatch.setattr(keras.random, draw, _as_constant(getattr(keras.random, draw)))
    plain, compiled = make(name, jit_compile=False), make(name, jit_compile=True)
    is_compiled = {one: _watch_compilation(one) for one in (plain, compiled)}
    logs = [
        trainer.fit(batches(name), verbose=0, validation_data=batches(name, count=1)).history
        for trainer in (plain, compiled)
    ]
    assert is_compiled[plain]() == {"train_step": False, "test_step": False}
    assert is_compiled[compiled]() == {"train_step": True, "test_step": True}
    # batch norm makes more of a last bit: it divides by the deviation of a few examples
    tolerance = 1e-3 if CASES[name].normalized else 1e-4
    assert_equal_weights(plain, compiled, tolerance)
    assert set(logs[0]) == set(logs[1]) >= {"loss", "val_loss"}
    for key in logs[0]:
        np.testing.assert_allclose(logs[0][key], logs[1][key], rtol=tolerance, err_msg=key)


def _watch_compilation(trainer):
    """Return a function that tells, after a run, which steps XLA had to compile."""
    graphs = {}

    def watched(step):
        def call(data):
            graphs[step.__name__] = tf.compat.v1.get_default_graph()
            return step(data)

        return call

    trainer.train_step, trainer.test_step = map(watched, (trainer.train_step, trainer.test_step))

    def is_compiled(graph):
        # around Keras' function of one step stands the one that takes a batch and calls it
        operations = graph.outer_graph.get_operations()
        (call,) = [op for op in operations if op.type == "StatefulPartitionedCall"]
        return call.get_attr("_XlaMustCompile")

    return lambda: {name: is_compiled(graph) for name, graph in graphs.items()}


def _can_run_on_a_tpu(name, micro_batch_size=None):
    trainer = make(name, CASES[name].optimizer(), micro_batch_size=micro_batch_size)
    assert tpu_obstacles(trainer, batches(name)) == []
    # nothing that the compiler's walk left behind is in the way of a run
    assert np.isfinite(trainer.fit(batches(name, count=1), verbose=0).history["loss"][0])


@costly("tokens", slow=("two optimizers", "graph"))
def test_a_tpu_can_run_the_steps(name):
    _can_run_on_a_tpu(name)


@costly(
    "tokens",
    slow=("queue", "graph"),
    names=[name for name in CASES if CASES[name].micro_batches],
)
def test_a_tpu_can_run_the_steps_in_micro_batches(name):
    _can_run_on_a_tpu(name, micro_batch_size=8)


@costly("tokens", slow=("queue", "graph"))
def test_a_tpu_can_run_the_steps_of_replicas(name, monkeypatch):
    monkeypatch.setattr(replicas, "_replica_context", _TwoEqualReplicas)
    trainer = make(name, CASES[name].optimizer())
    assert tpu_obstacles(trainer, batches(name, size=16)) == []


class _TwoEqualReplicas:
    """The part of TensorFlow's replica context that the package uses, without its collectives.

    The collectives of a CPU are not those of a TPU. Here the other replica holds equal values.
    """

    num_replicas_in_sync = 2

    @property
    def replica_id_in_sync_group(self):
        # a value, as on a TPU, and no constant
        return tf.cast(tf.random.uniform(()) < 0.5, "int32")

    def all_gather(self, x, axis):
        return tf.concat([x, x], axis)

    def all_reduce(self, reduce_op, x):
        return x + x


MIXED = ("batch normalization", "queue", "two optimizers", "graph", "tokens")


@costly("sampling", slow=MIXED)
def test_float16_starts_like_float32_and_stays_finite(
    name, trained, two_replicas, set_dtype_policy
):
    _mixed_precision(name, "mixed_float16", trained, two_replicas, set_dtype_policy)


@costly("sampling", slow=("memory bank",))
def test_bfloat16_starts_like_float32_and_stays_finite(
    name, trained, two_replicas, set_dtype_policy
):
    _mixed_precision(name, "mixed_bfloat16", trained, two_replicas, set_dtype_policy)


def _mixed_precision(name, policy, trained, two_replicas, set_dtype_policy):
    set_state(trained.trainer, trained.initial)
    full = trained.trainer.fit(batches(name, count=1), verbose=0).history
    set_dtype_policy(policy)
    with two_replicas.scope():
        trainer = make(name, CASES[name].optimizer())
    first = trainer.fit(batches(name, count=1), verbose=0).history
    history = trainer.fit(batches(name), epochs=2, verbose=0).history
    loss = CASES[name].decreasing_loss
    assert first[loss] == pytest.approx(full[loss], rel=0.05)
    assert all(np.all(np.isfinite(values)) for values in history.values())
    assert all(np.all(np.isfinite(np.asarray(w))) for w in trainer.weights)
    assert all(w.dtype == "float32" for w in trainer.trainable_weights)


@each_trainer
def test_bad_data_is_refused_before_the_first_step(name):
    assert CASES[name].bad_data
    for x, message in CASES[name].bad_data:
        trainer = make(name)
        y = images()[1][: len(x)] if CASES[name].labelled else None
        with pytest.raises((ValueError, TypeError), match=message):
            trainer.fit(x, y, batch_size=32, verbose=0)
        assert all(int(one.iterations) == 0 for one in trainer.optimizers.values())


@each_shape
def test_every_call_checks_its_data_after_the_first_fit_too(name, learned):
    """Shapes that the first `fit` refuses; and of validation data before the first epoch."""
    case, trainer = CASES[name], learned.trainer
    good, y = case.first(32), None if case.y() is None else case.y()[:32]
    before = state_of(trainer)
    for x, message in case.bad_data:
        rows = len(keras.tree.flatten(x)[0])
        labels = None if y is None else images()[1][:rows]
        calls = [lambda x=x, labels=labels: trainer.fit(x, labels, verbose=0)]
        # there is another message for data without examples, and clusters need no index there
        if rows and (name, message) != ("DeepClusterV2", "with_index"):
            validation = (x,) if labels is None else (x, labels)
            calls += [
                lambda x=x, labels=labels: trainer.evaluate(x, labels, verbose=0),
                lambda data=validation: trainer.fit(good, y, validation_data=data, verbose=0),
            ]
        for call in calls:
            with pytest.raises((ValueError, TypeError), match=message):
                call()
    for one, other in zip(before, state_of(trainer), strict=True):
        np.testing.assert_array_equal(other, one)


@costly("sampling", "teacher", slow=("queue", "graph"))
def test_evaluation_repeats_its_losses_and_leaves_training_untouched_to_the_bit(
    name, trained, deterministic
):
    trainer, ends, logs = trained.trainer, [], []
    generator = global_seed_state()
    start = np.array(generator)
    for validation in (None, batches(name, count=2)):
        set_state(trainer, trained.initial)
        generator.assign(start)
        if validation is not None:
            results = [trainer.evaluate(validation, verbose=0, return_dict=True) for _ in range(2)]
            assert results[0] == results[1]
        logs.append(
            trainer.fit(batches(name), epochs=2, validation_data=validation, verbose=0).history
        )
        ends.append([*state_of(trainer), np.array(generator)])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(other, one)
    assert {key: logs[1][key] for key in logs[0]} == logs[0]
    assert "val_loss" in logs[1]


@each_shape
def test_unknown_loss_weight_is_refused(name):
    trainer = make(name, loss_weights={"no_such_loss": 1.0})
    with pytest.raises(ValueError, match="no_such_loss"):
        trainer.fit(batches(name), verbose=0)


@costly("graph", slow=("labels", "memory bank"))
def test_takes_every_form_of_data(name, trained):
    x, y = CASES[name].first(64), images()[1][:64]
    labels = y if CASES[name].labelled else None
    trainer = trained.trainer

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            rows = slice(32 * index, 32 * index + 32)
            part = keras.tree.map_structure(lambda one: one[rows], x)
            return (part,) if labels is None else (part, y[rows])

    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(32, drop_remainder=True)
    for form in ((x, labels), (dataset,), (Sequence(),)):
        history = trainer.fit(*form, verbose=0, validation_data=dataset).history
        assert np.isfinite(history["val_loss"][0]) and CASES[name].decreasing_loss in history
    first = None if labels is None else y[:32]
    assert np.isfinite(
        trainer.train_on_batch(CASES[name].first(32), first, return_dict=True)["loss"]
    )
    assert np.isfinite(trainer.evaluate(x, labels, verbose=0, return_dict=True)["loss"])


@costly("two optimizers", slow=("queue",))
def test_several_steps_per_execution_equal_single_steps(name, trained):
    several = make(name, steps_per_execution=2)
    several.fit(batches(name), verbose=0)
    assert_equal_weights(trained.trainer, several, tolerance=1e-6)
