"""Tests of `DistributedFit`: building before the first step, full batches, XLA, private names."""

import warnings
from types import SimpleNamespace

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("trainers need the TensorFlow backend", allow_module_level=True)

from keras_ssl.trainers.engine.tensorflow.fit import DistributedFit, resolve_jit_compile  # noqa: E402


class Recorder(DistributedFit, keras.Model):
    """A Keras model that records the shapes passed to `build_step`."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.seen = []

    def build_step(self, x, y):
        self.seen.append(keras.tree.map_structure(lambda s: (tuple(s.shape), s.dtype), (x, y)))
        if not self.dense.built:
            self.dense.build((None, 3))

    def call(self, x):
        return self.dense(x)


def recorder(strategy=None):
    with strategy.scope() if strategy else tf.distribute.get_strategy().scope():
        model = Recorder()
        model.compile("sgd", "mse")
    return model


def test_keras_has_the_private_names_that_the_engine_uses():
    from keras.src.backend.tensorflow.trainer import TFEpochIterator

    assert callable(keras.Model._maybe_symbolic_build)
    assert callable(keras.Model._symbolic_build) and callable(keras.Model._make_function)
    assert recorder()._distribute_strategy is None
    iterator = TFEpochIterator(
        x=np.zeros((4, 3)), batch_size=2, distribute_strategy=tf.distribute.get_strategy()
    )
    assert iterator._distributed_dataset.element_spec is not None


def test_build_step_gets_shapes_without_reading_a_batch():
    taken = []

    def generate():
        for number in range(4):
            taken.append(number)
            yield np.zeros((2, 3), "float32"), np.zeros((2, 1), "float32")

    model = recorder()
    model.fit(generate(), verbose=0)
    assert model.seen[0] == (((None, 3), "float32"), ((None, 1), "float32"))
    assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize("as_dataset", [False, True])
def test_build_step_gets_the_shapes_of_one_replica(two_replicas, as_dataset):
    model = recorder(two_replicas)
    x, y = np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(4, drop_remainder=True)
    model.fit(*((dataset,) if as_dataset else (x, y, 4)), verbose=0)
    (x_shape, _), (y_shape, _) = model.seen[0]
    assert x_shape in ((2, 3), (None, 3)) and y_shape in ((2, 1), (None, 1))


def test_arrays_are_cut_to_full_batches_on_replicas(two_replicas):
    model = recorder(two_replicas)
    model.fit(np.zeros((11, 3), "float32"), np.zeros((11, 1), "float32"), batch_size=4, verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 2


@pytest.mark.full
def test_evaluation_drops_a_batch_too_small_for_all_replicas(two_replicas):
    model = recorder(two_replicas)
    x, y = np.ones((9, 3), "float32"), np.ones((9, 1), "float32")
    history = model.fit(x, y, batch_size=4, verbose=0, validation_data=(x, y)).history
    assert np.isfinite(history["val_loss"][0])
    assert np.isfinite(model.evaluate(x, y, batch_size=4, verbose=0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tf.data.Dataset.from_tensor_slices(np.zeros((8, 3))).batch(4), "drop_remainder"),
        (
            lambda: tf.data.Dataset.from_tensor_slices(np.zeros((9, 3))).batch(3, True),
            "divisible by the number of replicas, 2",
        ),
        (lambda: np.zeros((0, 3)), "no data"),
    ],
)
def test_batches_that_replicas_cannot_share_are_rejected(two_replicas, make, message):
    with pytest.raises(ValueError, match=message):
        recorder(two_replicas).fit(make(), verbose=0)


def test_validation_split_is_rejected_on_replicas(two_replicas):
    x = np.zeros((8, 3), "float32")
    with pytest.raises(ValueError, match="validation_split"):
        recorder(two_replicas).fit(x, x[:, :1], batch_size=4, validation_split=0.5, verbose=0)


def test_list_of_arrays_is_a_list_of_inputs_on_replicas(two_replicas):
    model = recorder(two_replicas)
    model.call = lambda x: model.dense(x[0] + x[1])
    x = np.zeros((8, 3), "float32")
    model.fit([x, x], x[:, :1], batch_size=4, verbose=0)
    assert len(model.seen[0][0]) == 2


def test_data_smaller_than_a_batch_is_rejected_on_replicas(two_replicas):
    with pytest.raises(ValueError, match="3 examples and batch_size=4"):
        recorder(two_replicas).fit(np.zeros((3, 3)), np.zeros((3, 1)), batch_size=4, verbose=0)


def test_jit_compile_is_disabled_with_a_warning_where_xla_cannot_work(two_replicas):
    with pytest.warns(UserWarning, match=r"MirroredStrategy with 2 replicas: .* several devices"):
        assert resolve_jit_compile(True, two_replicas) is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_jit_compile(True, None) is True
        assert resolve_jit_compile(True, tf.distribute.OneDeviceStrategy("CPU:0")) is True
        assert resolve_jit_compile("auto", two_replicas) == "auto"
        assert resolve_jit_compile(False, two_replicas) is False


def test_jit_compile_is_disabled_for_workers_and_tpus():
    class Workers(tf.distribute.MultiWorkerMirroredStrategy):
        extended = SimpleNamespace(_cluster_resolver=None)

        def __init__(self):
            pass

        num_replicas_in_sync = 2

    class TPU(tf.distribute.TPUStrategy):
        def __init__(self):
            pass

        num_replicas_in_sync = 8

    with pytest.warns(UserWarning, match=r"with 2 replicas: .* between workers"):
        assert resolve_jit_compile(True, Workers()) is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # no warning, since a TPU's step is always compiled
        assert resolve_jit_compile(True, TPU()) is False


class Orders(Recorder):
    """Records the order of examples, which are identified by their first number."""

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.batches.append(np.asarray(x)[:, 0].astype(int).tolist())
        return super().train_step(data)


def orders_of(x, **arguments):
    keras.utils.set_random_seed(5)
    model = Orders()
    model.batches = []
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(x, np.zeros((len(x), 1)), verbose=0, **arguments)
    return model.batches


def test_every_example_is_seen_once_per_epoch_on_one_device():
    x = np.arange(10.0)[:, None] * np.ones((1, 3))
    batches = orders_of(x, batch_size=4, epochs=2)
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    first, second = np.concatenate(batches[:3]).tolist(), np.concatenate(batches[3:]).tolist()
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert batches == orders_of(x, batch_size=4, epochs=2)
    in_order = orders_of(x, batch_size=4, shuffle=False)
    assert np.concatenate(in_order).tolist() == list(range(10))


def test_order_of_arrays_is_determined_by_the_shuffle_seed(monkeypatch):
    x = np.arange(16.0)[:, None] * np.ones((1, 3))
    monkeypatch.setattr(DistributedFit, "draw_shuffle_seed", lambda self: 11)
    one = orders_of(x)
    monkeypatch.setattr(DistributedFit, "draw_shuffle_seed", lambda self: 12)
    assert orders_of(x) != one


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"sample_weight": np.linspace(0, 2, 10)},
        {"class_weight": {0: 0.5, 1: 3.0}},
        {"validation_split": 0.3},
        {"steps_per_epoch": 2, "epochs": 3},
        {"steps_per_epoch": 2, "batch_size": None},
    ],
    ids=lambda arguments: "-".join(arguments) or "plain",
)
def test_arrays_train_as_in_keras(arguments, rng):
    x = rng.normal(size=(10, 3)).astype("float32")
    y = rng.integers(2, size=(10, 1))
    losses = []
    for base in (keras.Model, Recorder):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
        if base is Recorder:
            model, dense = Recorder(), model.layers[-1]
            model.dense = dense
        model.compile(keras.optimizers.SGD(0.1), "mse")
        history = model.fit(x, y, **{"batch_size": 4, **arguments}, shuffle=False, verbose=0)
        losses.append(history.history)
    assert losses[0].keys() == losses[1].keys()
    for key, values in losses[0].items():
        np.testing.assert_allclose(losses[1][key], values, rtol=1e-5)


def test_arrays_of_different_lengths_are_rejected():
    with pytest.raises(ValueError, match="cardinality"):
        recorder().fit(np.zeros((4, 3)), np.zeros((5, 1)), verbose=0)


@pytest.mark.full
def test_sample_weights_are_used_on_replicas(two_replicas):
    x, y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
    model = recorder(two_replicas)
    loss = model.evaluate(x, y, batch_size=4, sample_weight=np.zeros(8), verbose=0)
    assert loss == 0
    history = model.fit(x, y, 4, sample_weight=np.zeros(8), verbose=0)
    assert history.history["loss"] == [0]


class Convolution(DistributedFit, keras.Model):
    """A model whose layer rejects empty batches, and whose output is a dictionary."""

    def __init__(self):
        super().__init__()
        self.layer = keras.layers.Conv2D(3, 2, kernel_initializer="ones")

    def call(self, x):
        return {"sum": self.layer(x), "first": x[:, 0, 0]}


@pytest.mark.few(2)
@pytest.mark.parametrize(("examples", "batch_size"), [(1, 32), (9, 4), (5, 4), (8, 4)])
@pytest.mark.parametrize("form", ["array", "dataset", "pydataset"])
def test_predicts_batches_of_fewer_examples_than_replicas(two_replicas, examples, batch_size, form):
    x = np.random.default_rng(0).normal(size=(examples, 4, 4, 2)).astype("float32")

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return -(-examples // batch_size)

        def __getitem__(self, index):
            return (x[index * batch_size : (index + 1) * batch_size],)

    make = {
        "array": lambda: (x, batch_size),
        "dataset": lambda: (tf.data.Dataset.from_tensor_slices(x).batch(batch_size),),
        "pydataset": lambda: (Batches(),),
    }[form]
    with two_replicas.scope():
        two = Convolution()
    found = two.predict(*make(), verbose=0)
    windows = sum(x[:, i : i + 3, j : j + 3].sum(-1) for i in (0, 1) for j in (0, 1))
    np.testing.assert_allclose(found["sum"][..., 0], windows, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["first"], x[:, 0, 0])


def test_objects_made_outside_of_the_scope_are_rejected(two_replicas):
    x, y = np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32")
    optimizer = keras.optimizers.SGD()
    with two_replicas.scope():
        model = Recorder()
        model.compile(optimizer, "mse")
    with pytest.raises(ValueError, match=r"MirroredStrategy .*sgd.*/iteration` was made outside"):
        model.fit(x, y, batch_size=4, verbose=0)

    outside = recorder()
    with two_replicas.scope(), pytest.raises(ValueError, match=r"made outside, and `fit` under"):
        outside.fit(x, y, verbose=0)


@pytest.mark.few(1)
@pytest.mark.parametrize("with_strategy", [False, True])
def test_functional_model_trains_with_the_mix_in_as_without(two_replicas, with_strategy):
    class Mixed(DistributedFit, keras.Model):
        pass

    strategy = two_replicas if with_strategy else tf.distribute.get_strategy()
    x = np.linspace(0, 1, 24, dtype="float32").reshape(8, 3)
    losses = []
    for base, scope in ((keras.Model, tf.distribute.get_strategy()), (Mixed, strategy)):
        with scope.scope():
            inputs = keras.Input((3,))
            model = base(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
            model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
        losses.append(model.fit(x, x[:, :1], 4, epochs=2, shuffle=False, verbose=0).history)
    assert losses[0].keys() == losses[1].keys() == {"loss", "mae"}
    for key, values in losses[0].items():
        np.testing.assert_allclose(losses[1][key], values, rtol=1e-5)
