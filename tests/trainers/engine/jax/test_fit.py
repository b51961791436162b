"""Training on JAX: files, resuming, evaluation, micro-batches, data, errors."""

import keras
import numpy as np
import pytest
from keras import ops

if keras.backend.backend() != "jax":
    pytest.skip("the JAX backend's engine", allow_module_level=True)

import jax
from keras.src.backend.jax.trainer import JAXEpochIterator

from keras_ssl import callbacks, distribute, evaluate, layers, losses, trainers
from keras_ssl.trainers.engine.jax._array_batches import ArrayBatches

X = np.random.default_rng(0).normal(size=(96, 8)).astype("float32")
Y = np.arange(96) % 2


def network(normalize=False):
    parts = [keras.Input((8,)), keras.layers.Dense(6)]
    if normalize:
        parts += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.1, seed=2)]
    return keras.Sequential(parts)


def byol(**arguments):
    """A trainer with a teacher, moving statistics, seeds, a probe: all kinds of state."""
    keras.utils.set_random_seed(1)
    heads = {
        name: layers.ProjectionHead((6, 4), normalization=False)
        for name in ("projector", "predictor")
    }
    trainer = trainers.BYOL(network(normalize=True), **heads)
    trainer.compile(keras.optimizers.SGD(0.1), probe=trainers.OnlineProbe(2), **arguments)
    return trainer


def fit(trainer, *others, **arguments):
    arguments = {"batch_size": 32, "epochs": 3, "verbose": 0, **arguments}
    return trainer.fit((X, X[::-1]), Y, callbacks=list(others), **arguments).history


def state_of(trainer):
    return [
        ops.convert_to_numpy(one)
        for group in trainer.training_variables().values()
        for one in group
    ]


def test_keras_has_the_private_names_that_the_engine_uses():
    names = ("_symbolic_build", "_get_jax_state", "jax_state_sync", "_make_function")
    assert all(callable(getattr(keras.Model, name)) for name in names)
    assert keras.Model()._jax_state_synced is True
    iterator = JAXEpochIterator(x=X, batch_size=2)
    assert iterator.data_adapter._inputs is not None
    batches = ArrayBatches((X,), 2)
    assert JAXEpochIterator(x=batches).data_adapter.py_dataset is batches


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 1):
            raise KeyboardInterrupt


def test_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one(tmp_path):
    whole = byol()
    logs = fit(whole)
    with pytest.raises(KeyboardInterrupt):
        fit(byol(), callbacks.BackupAndResume(tmp_path, every_steps=1), Interrupt())
    resumed = byol()
    assert fit(resumed, callbacks.BackupAndResume(tmp_path)) == logs
    for one, other in zip(state_of(whole), state_of(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


def test_loaded_trainer_continues_as_if_never_stopped(tmp_path):
    trainer = byol()
    fit(trainer)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    for one in (trainer, loaded):
        fit(one, epochs=1, shuffle=False)
    for one, other in zip(trainer.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_evaluation_draws_the_same_and_leaves_training_as_it_is():
    data = ((X, X[::-1]), Y)
    first, validated = fit(byol()), byol()
    second = fit(validated, validation_data=data, validation_batch_size=32)
    assert first["loss"] == second["loss"] and "val_probe_accuracy" in second
    found = [validated.evaluate(*data, batch_size=32, verbose=0) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0][0] == pytest.approx(second["val_loss"][-1], rel=1e-6)
    before = state_of(validated)
    validated.predict(X, verbose=0)
    for one, other in zip(before[:5], state_of(validated)[:5], strict=True):
        np.testing.assert_array_equal(one, other)


def simclr(micro_batch_size=None, **arguments):
    keras.utils.set_random_seed(1)
    trainer = trainers.SimCLR(
        network(), projector=keras.layers.Dense(4), loss=losses.NTXent(temperature=0.5)
    )
    trainer.compile(keras.optimizers.SGD(0.1), micro_batch_size=micro_batch_size, **arguments)
    return trainer


@pytest.mark.parametrize("values_per_example", [False, True])
def test_micro_batches_give_the_gradient_of_the_batch(values_per_example):
    def make(size):
        if not values_per_example:
            return simclr(size)
        keras.utils.set_random_seed(1)
        trainer = trainers.Autoencoder(network(), keras.layers.Dense(8))
        trainer.compile(keras.optimizers.SGD(0.1), micro_batch_size=size)
        return trainer

    def weights(size):
        trainer = make(size)
        x = X if values_per_example else (X, X[::-1])
        logs = trainer.fit(x, batch_size=32, shuffle=False, verbose=0).history
        return [*trainer.get_weights(), *map(np.array, logs.values())]

    for one, other in zip(weights(None), weights(8), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_several_steps_per_execution_and_eager_steps_give_the_same_weights():
    expected = None
    for arguments in ({}, {"steps_per_execution": 2}, {"run_eagerly": True}):
        trainer = simclr(**arguments)
        fit(trainer, epochs=1, shuffle=False)
        weights = trainer.get_weights()
        expected = expected or weights
        for one, other in zip(weights, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, number):
        rows = slice(32 * number, 32 * number + 32)
        return (X[rows], X[::-1][rows]), Y[rows]


def torch_loader():
    torch = pytest.importorskip("torch")
    rows = [((x, z), y) for x, z, y in zip(X, X[::-1].copy(), Y, strict=True)]
    return torch.utils.data.DataLoader(rows, batch_size=32)


def tensorflow_dataset():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(((X, X[::-1]), Y)).batch(32)


@pytest.mark.parametrize("make", [Batches, torch_loader, tensorflow_dataset])
def test_all_forms_of_data_give_the_weights_of_arrays(make):
    expected = simclr()
    fit(expected, epochs=1, shuffle=False)
    trainer = simclr()
    trainer.fit(make(), shuffle=False, verbose=0)
    for one, other in zip(trainer.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_generator_gives_every_batch():
    seen = []

    def batches():
        for number in range(3):
            seen.append(number)
            yield (X[:32] + number, X[32:64]), Y[:32]

    trainer = simclr()
    trainer.fit(batches(), verbose=0)
    assert seen == [0, 1, 2] and int(trainer.optimizer.iterations) == 3


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_learns_and_stays_finite(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        trainer = simclr()
        losses = fit(trainer, epochs=6)["loss"]
    finally:
        keras.config.set_dtype_policy(before)
    assert np.all(np.isfinite(losses)) and losses[-1] < losses[0]
    assert trainer.encoder.weights[0].dtype == "float32"


def test_nan_ends_the_run():
    trainer = simclr()
    with pytest.raises(FloatingPointError, match="loss became NaN or infinite at step 1 "):
        trainer.fit((X * np.nan, X), batch_size=32, verbose=0)


def test_single_batches_count_steps():
    trainer = byol()
    for _ in range(2):
        loss = trainer.train_on_batch((X[:32], X[32:64]), Y[:32])[0]
    assert np.isfinite(loss) and int(trainer.optimizer.iterations) == 2
    assert np.isfinite(trainer.test_on_batch((X[:32], X[32:64]), Y[:32])[0])


def test_bad_data_is_refused_before_training():
    with pytest.raises(ValueError, match="Expected 2 views"):
        simclr().fit((X, X, X), verbose=0)
    with pytest.raises(ValueError, match="Labels must be integers from 0"):
        byol().fit((X, X), Y + 1, verbose=0)
    with pytest.raises(ValueError, match="holds no data"):
        simclr().fit((X[:0], X[:0]), verbose=0)


def test_nearest_neighbours_vote_as_in_the_formula():
    labels, k, temperature = np.arange(64) % 5, 7, 0.1
    train, test = (one.astype("float64") for one in (X[:64], X[64:]))
    train, test = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (train, test))
    similarities = test @ train.T
    nearest = np.argsort(-similarities, axis=1)[:, :k]
    weights = np.exp(np.take_along_axis(similarities, nearest, axis=1) / temperature)
    pairs = list(zip(weights, labels[nearest], strict=True))
    votes = [[w[of_nearest == c].sum() for c in range(5)] for w, of_nearest in pairs]
    found = evaluate.knn_predict(X[:64], labels, X[64:], k, temperature)
    np.testing.assert_array_equal(found, np.argmax(votes, axis=1))


def test_callbacks_measure_the_weights_of_their_epoch():
    trainer = byol()
    measure = callbacks.KNNCallback((X, Y), (X, Y), k=3)
    logs = fit(trainer, measure, callbacks.CollapseMonitor(X))
    expected = evaluate.knn_accuracy(trainer, (X, Y), (X, Y), k=3)
    assert logs["knn_accuracy"][-1] == expected
    features = trainer.predict(X, verbose=0)
    assert logs["effective_rank"][-1] == pytest.approx(evaluate.effective_rank(features), rel=1e-4)


def test_strategies_and_the_mix_in_say_what_jax_has_in_their_place():
    with pytest.raises(RuntimeError, match=r"keras\.distribution"):
        distribute.strategy("auto")

    class Plain(trainers.DistributedFit, keras.Model):
        pass

    with pytest.raises(RuntimeError, match="no mix-in is needed"):
        Plain()


def flops(function, *arguments):
    return function.lower(*arguments).compile().cost_analysis()["flops"]


def test_a_step_computes_no_more_than_one_written_by_hand():
    keras.utils.set_random_seed(1)
    trainer = trainers.SimCLR(
        keras.Sequential([keras.Input((8,)), keras.layers.Dense(256), keras.layers.Dense(256)]),
        projector=keras.layers.Dense(64),
    )
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    views = (X[:32], X[32:64])
    trainer.train_on_batch(views)
    kinds = tuple(
        f"{kind}_variables" for kind in ("trainable", "non_trainable", "optimizer", "metrics")
    )
    step = trainer._as_function(trainer.train_step, *kinds)
    ours = flops(step, trainer._get_jax_state(**dict.fromkeys(kinds, True)), (views,))

    def by_hand(weights, state, views):
        def loss(weights):
            with keras.StatelessScope(zip(trainer.trainable_variables, weights, strict=True)):
                return trainer.loss_function(
                    *(trainer.projector(trainer.encoder(one, training=True)) for one in views)
                )

        value, gradients = jax.value_and_grad(loss)(weights)
        return value, trainer.optimizer.stateless_apply(state, gradients, weights)

    values = [
        [v.value for v in one] for one in (trainer.trainable_variables, trainer.optimizer.variables)
    ]
    assert ours <= 1.05 * flops(jax.jit(by_hand), *values, views)


def test_several_devices_end_with_the_weights_of_one():
    if len(jax.devices()) < 2:
        pytest.skip("one device: XLA_FLAGS=--xla_force_host_platform_device_count=2 makes more")
    one = byol()
    fit(one, epochs=1, shuffle=False)
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        several = byol()
        fit(several, epochs=1, shuffle=False)
        assert len(several.encoder.weights[0].value.sharding.device_set) == len(jax.devices())
    finally:
        keras.distribution.set_distribution(None)
    for a, b in zip(one.get_weights(), several.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_batches_that_devices_cannot_share_are_refused_before_training():
    if len(jax.devices()) < 2:
        pytest.skip("one device: XLA_FLAGS=--xla_force_host_platform_device_count=2 makes more")
    expected = "`DataParallel` devices share each batch of `{}` equally.*a batch of {}"
    devices = keras.distribution.list_devices()[:2]
    with keras.distribution.DataParallel(devices=devices).scope():
        trainer = simclr()
        with pytest.raises(ValueError, match=expected.format("x", 31)):
            trainer.fit((X, X), batch_size=31, verbose=0)
        with pytest.raises(ValueError, match=expected.format("x", 3)):
            trainer.fit((X[:35], X[:35]), batch_size=32, verbose=0)
        with pytest.raises(ValueError, match=expected.format("validation_data", 5)):
            trainer.fit((X, X), validation_data=((X[:5], X[:5]),), verbose=0)
        with pytest.raises(ValueError, match=expected.format("x", 3)):
            trainer.evaluate((X[:3], X[:3]), verbose=0)
        with pytest.raises(ValueError, match=expected.format("x", 7)):
            trainer.fit(ArrayBatches(((X[:14], X[:14]),), 7), verbose=0)
        assert trainer.optimizer.iterations == 0
        with pytest.raises(ValueError, match=expected.format("x", 1)):
            trainer.predict(X[:33], verbose=0)


def test_a_decoder_draws_samples():
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8)])
    trainer = trainers.VAE(network(), decoder, 2, losses.GaussianNLL(1.0))
    trainer.compile("adam")
    trainer.fit(X, batch_size=32, verbose=0)
    samples = np.asarray(trainer.sample(5, seed=3))
    assert samples.shape == (5, 8) and samples.std(axis=0).min() > 0
    np.testing.assert_array_equal(samples, trainer.sample(5, seed=3))
    assert np.any(samples != np.asarray(trainer.sample(5, seed=4)))
