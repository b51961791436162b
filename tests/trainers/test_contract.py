"""What every trainer must do, over all of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import trainers
from keras_ssl.callbacks import BackupAndResume
from keras_ssl.distribute import replicas
from tests.callbacks.interrupted import InterruptAt, assert_same_bits
from tests.tpu.obstacles import tpu_obstacles
from tests.trainers.cases import CASES
from tests.trainers.small import images

pytestmark = pytest.mark.parametrize("name", CASES)


def make(name, optimizer=None, **compile_arguments):
    """A compiled, built trainer; two calls give equal weights and equal random numbers."""
    keras.utils.set_random_seed(1)
    case = CASES[name]
    trainer = case.make()
    trainer.compile(optimizer=optimizer or case.sgd(), **compile_arguments)
    return trainer


def batches(name, size=32, count=4):
    """Full batches in a fixed order."""
    data = (CASES[name].first(size * count),)
    if CASES[name].labelled:
        data = (*data, CASES[name].y()[: size * count])
    return tf.data.Dataset.from_tensor_slices(data).batch(size, drop_remainder=True)


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


def test_loss_falls_on_real_data(name):
    case = CASES[name]
    trainer = make(name, case.optimizer())
    history = trainer.fit(case.x(), case.y(), batch_size=32, epochs=6, verbose=0).history
    assert history[case.falls][-1] < 0.97 * history[case.falls][0]
    assert np.all(np.isfinite(history["loss"]))


def test_representation_is_what_the_model_gives(name):
    trainer = make(name)
    x = CASES[name].first(8)
    features = trainer.predict(x, verbose=0)
    assert features.shape[0] == 8 and features.ndim in (2, 3)  # of examples or their nodes
    np.testing.assert_allclose(features, trainer(x).numpy(), rtol=1e-5, atol=1e-6)


def test_saved_and_loaded_trainer_goes_on_as_if_never_stopped(name, tmp_path):
    trainer = make(name, CASES[name].optimizer())
    trainer.fit(batches(name), verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")  # safe mode is the default

    x = CASES[name].first(16)
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), trainer.predict(x, verbose=0), rtol=1e-6
    )
    for one in (trainer, loaded):
        one.fit(batches(name), verbose=0)
    assert_equal_weights(trainer, loaded, tolerance=1e-6)


def test_interrupted_trainer_ends_with_the_bits_of_one_that_never_was(
    name, tmp_path, deterministic
):
    """In the middle of the second epoch; with the probe, its optimizer and all metrics."""
    x, y = CASES[name].first(96), CASES[name].probed()[:96]

    def train(*callbacks):
        keras.utils.set_random_seed(1)  # for the probe
        probe = trainers.OnlineProbe(10, by_position=y.ndim > 1)
        trainer = make(name, CASES[name].optimizer(), probe=probe)
        history = trainer.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=callbacks)
        return trainer, history.history

    whole, logs = train()
    with pytest.raises(KeyboardInterrupt):
        train(BackupAndResume(tmp_path, every_steps=1), InterruptAt(1, 1))
    resumed, logs_again = train(BackupAndResume(tmp_path))
    assert_same_bits(whole, resumed)
    assert logs_again == logs


def test_saved_weights_load_into_a_new_trainer(name, tmp_path):
    trainer, fresh = make(name), make(name)
    trainer.fit(batches(name), verbose=0)
    trainer.save_weights(tmp_path / "trainer.weights.h5")
    fresh.fit(batches(name, count=1), verbose=0)
    fresh.load_weights(tmp_path / "trainer.weights.h5")
    assert_equal_weights(trainer, fresh, tolerance=1e-7)


def test_config_makes_an_equal_trainer(name):
    trainer = make(name)
    copy = type(trainer).from_config(trainer.get_config())
    assert copy.get_config() == trainer.get_config()


def test_two_replicas_end_with_the_weights_of_one(name, two_replicas):
    one = make(name)
    with two_replicas.scope():
        two = make(name)
    logs = [trainer.fit(batches(name), verbose=0).history for trainer in (one, two)]
    assert_equal_weights(one, two, tolerance=1e-4 if CASES[name].normalized else 1e-6)
    for key in logs[0]:
        np.testing.assert_allclose(logs[0][key], logs[1][key], rtol=1e-4)


def test_two_workers_end_with_the_weights_of_one_device(name, two_workers):
    keras.utils.set_random_seed(0)
    one = make(name)
    logs = one.fit(batches(name), verbose=0).history
    # Relative to the largest weight. Some have no scale of their own: the gradient of a bias before
    # batch normalisation is 0, and what is there are rounding errors.
    largest = max(np.abs(weight).max() for weight in one.get_weights())
    for found in two_workers(f"exactness {name}"):
        assert {key.removeprefix("log ") for key in found if key.startswith("log ")} == set(logs)
        for number, weight in enumerate(one.get_weights()):
            difference = np.abs(found[f"weight {number}"] - weight).max()
            assert difference <= 1e-5 * largest, one.weights[number].path
        for key, values in logs.items():
            np.testing.assert_allclose(found[f"log {key}"], values, rtol=1e-5)


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
    assert set(logs[0]) == set(logs[1]) > {"loss", "val_loss"}
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


@pytest.mark.parametrize("micro_batch_size", [None, 8])
def test_a_tpu_can_run_the_steps(name, micro_batch_size):
    if micro_batch_size and CASES[name].make().updates()[0].embed is None:
        pytest.skip("the method takes no micro-batches")
    trainer = make(name, CASES[name].optimizer(), micro_batch_size=micro_batch_size)
    assert tpu_obstacles(trainer, batches(name)) == []
    # nothing that the compiler's walk left behind is in the way of a run
    assert np.isfinite(trainer.fit(batches(name, count=1), verbose=0).history["loss"][0])


def test_a_tpu_can_run_what_replicas_do_besides(name, monkeypatch):
    monkeypatch.setattr(replicas, "_replica_context", _TwoEqualReplicas)
    trainer = make(name, CASES[name].optimizer())
    assert tpu_obstacles(trainer, batches(name, size=16)) == []


class _TwoEqualReplicas:
    """What the package asks of TensorFlow's replica context, without TensorFlow's collectives.

    Those of a CPU are not those of a TPU; here the other replica holds what this one holds.
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


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_starts_like_float32_and_stays_finite(
    name, policy, two_replicas, set_dtype_policy
):
    full = make(name).fit(batches(name, count=1), verbose=0).history
    set_dtype_policy(policy)
    with two_replicas.scope():
        trainer = make(name, CASES[name].optimizer())
    first = trainer.fit(batches(name, count=1), verbose=0).history
    history = trainer.fit(batches(name), epochs=2, verbose=0).history
    falls = CASES[name].falls
    assert first[falls] == pytest.approx(full[falls], rel=0.05)
    assert all(np.all(np.isfinite(values)) for values in history.values())
    assert all(np.all(np.isfinite(np.asarray(w))) for w in trainer.weights)
    assert all(w.dtype == "float32" for w in trainer.trainable_weights)


def test_bad_data_is_refused_before_the_first_step(name):
    assert CASES[name].bad_data
    for x, message in CASES[name].bad_data:
        trainer = make(name)
        y = images()[1][: len(x)] if CASES[name].labelled else None
        with pytest.raises((ValueError, TypeError), match=message):
            trainer.fit(x, y, batch_size=32, verbose=0)
        assert all(int(one.iterations) == 0 for one in trainer.optimizers.values())


def test_unknown_loss_weight_is_refused(name):
    trainer = make(name, loss_weights={"no_such_loss": 1.0})
    with pytest.raises(ValueError, match="no_such_loss"):
        trainer.fit(batches(name), verbose=0)


def test_takes_every_form_of_data(name):
    x, y = CASES[name].first(64), images()[1][:64]
    learned = y if CASES[name].labelled else None
    trainer = make(name)

    class Sequence(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            rows = slice(32 * index, 32 * index + 32)
            part = keras.tree.map_structure(lambda one: one[rows], x)
            return (part,) if learned is None else (part, y[rows])

    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(32, drop_remainder=True)
    for form in ((x, learned), (dataset,), (Sequence(),)):
        history = trainer.fit(*form, verbose=0, validation_data=dataset).history
        assert np.isfinite(history["val_loss"][0]) and CASES[name].falls in history
    first = None if learned is None else y[:32]
    assert np.isfinite(trainer.train_on_batch(CASES[name].first(32), first)[0])
    assert np.isfinite(trainer.evaluate(x, learned, verbose=0, return_dict=True)["loss"])


def test_several_steps_per_execution_equal_single_steps(name):
    single, several = make(name), make(name, steps_per_execution=2)
    for trainer in (single, several):
        trainer.fit(batches(name), verbose=0)
    assert_equal_weights(single, several, tolerance=1e-6)
