"""Checks that two worker processes run for the tests: see `run_pair.py`.

A check is a function of the strategy and of a folder that both workers share. It returns arrays by
name, which are saved to `<folder>/<worker>/<check>.npz` for a test. If a check raises an error, its
traceback is saved to `<check>.txt` and the worker ends, as the other one would wait forever.
"""

import functools
import gc
import itertools
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from keras_ssl import callbacks, distribute, evaluate, layers, losses, trainers
from tests.distribute.run_pair import has_users


def end_without_users(folder):
    """End this process, even if it waits for the other worker, when no test process is left."""
    while has_users(folder):
        time.sleep(0.5)
    os._exit(0)  # TensorFlow's own shutdown would wait for the other worker


if __name__ == "__main__":
    FOLDER = Path(sys.argv[1])
    threading.Thread(target=end_without_users, args=(FOLDER,), daemon=True).start()
    # before the cases are imported: workers cannot connect once TensorFlow has run something
    STRATEGY = distribute.strategy("multi_worker", timeout=300)

from keras_ssl.distribute.worker_batches import distribute_batches  # noqa: E402
from tests.callbacks.interrupted import InterruptAt  # noqa: E402
from tests.distribute import plain  # noqa: E402
from tests.distribute.primitives import run_primitives  # noqa: E402
from tests.trainers import cases, small  # noqa: E402
from tests.trainers.generative.denoisers import image_denoiser, small_images  # noqa: E402
from tests.trainers.runs import batches, make  # noqa: E402

CHECKS = {}
HAS_TENSORBOARD = find_spec("tensorboard") is not None


def check(function):
    """Register a check."""
    CHECKS[function.__name__] = function
    return function


def logs_of(history):
    return {f"log {name}": np.asarray(values) for name, values in history.history.items()}


def weights_of(model):
    return {f"weight {i}": np.asarray(weight) for i, weight in enumerate(model.weights)}


def message_of(function):
    """The error of a call that must fail."""
    try:
        function()
    except Exception as error:
        return np.array(f"{type(error).__name__}: {error}")
    return np.array("nothing was raised")


def exactness_of(name):
    """The check of a trainer of the contract, which returns its weights and logs."""

    def run(strategy, folder):
        with strategy.scope():
            trainer = make(name)
        history = trainer.fit(batches(name), verbose=0)
        return weights_of(trainer) | logs_of(history)

    return run


@check
def arrays(strategy, folder):
    with strategy.scope():
        trainer = make("masked tokens", steps_per_execution=2)
    x = small.tokens()
    history = trainer.fit(x, batch_size=32, epochs=2, validation_data=x[:70], verbose=0)
    return weights_of(trainer) | logs_of(history)


@check
def last_execution(strategy, folder):
    """Five steps of an epoch, two executed together."""
    model = plain.compiled(lambda: plain.functional(trainers.DistributedFit), strategy)
    model.steps_per_execution = 2
    return plain.results(model)


@check
def primitives(strategy, folder):
    return run_primitives(strategy)


@check
def mixed_in(strategy, folder):
    results = {}
    for name, make_model in plain.MODELS.items():
        model = plain.compiled(lambda make=make_model: make(trainers.DistributedFit), strategy)
        found = plain.results(model, only_fit=name == "subclassed")
        results |= {f"{name} {key}": value for key, value in found.items()}
    return results


@check
def keras_alone(strategy, folder):
    model = plain.compiled(lambda: plain.functional(), strategy)
    return {"message": message_of(lambda: plain.results(model))}


@check
def seen_rows(strategy, folder):
    def rows_of(batches):
        local = strategy.experimental_local_results
        return np.array([np.concatenate(local(batch)) for batch in batches])

    x = np.arange(20)
    ready = tf.data.Dataset.from_tensor_slices(x).batch(6, drop_remainder=True)
    examples = tf.data.Dataset.from_tensor_slices(x)
    ragged = examples.map(lambda i: (i, tf.range(i)))  # single examples may differ in shape
    shared = distribute.shard_batches(examples, 6, lambda i: 10 * i, strategy)
    summed = distribute.shard_batches(ragged, 6, lambda i, r: i + 0 * tf.reduce_sum(r), strategy)
    return {
        "ready": rows_of(distribute_batches(ready, strategy)),
        "shared": rows_of(shared),
        "shared again": rows_of(shared),
        "summed": rows_of(summed),
        "cardinality": np.array(int(shared.cardinality)),
    }


class Seen(keras.callbacks.Callback):
    """Collects the epochs that end."""

    def __init__(self, chief_only=None):
        super().__init__()
        self.epochs = []
        if chief_only is not None:
            self.chief_only = chief_only

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)


@functools.cache
def watched_trainer(strategy):
    with strategy.scope():
        trainer = make("SimCLR with batch norm", probe=trainers.OnlineProbe(10, optimizer="sgd"))
    x, y = small.images()
    dataset = tf.data.Dataset.from_tensor_slices((x[:64], y[:64])).batch(32, drop_remainder=True)
    return trainer, dataset


@check
def what_callbacks_write(strategy, folder):
    trainer, dataset = watched_trainer(strategy)
    x, y = small.images()
    home = folder / "written" / ("chief" if distribute.is_chief() else "other")
    seen, chiefs = Seen(), Seen(chief_only=True)
    history = trainer.fit(
        dataset,
        epochs=2,
        validation_data=dataset,
        verbose=2,
        callbacks=[
            callbacks.CollapseMonitor(x[:64]),
            callbacks.KNNCallback((x[:128], y[:128]), (x[128:], y[128:]), k=5),
            keras.callbacks.ModelCheckpoint(
                home / "{epoch}.keras", monitor="knn_accuracy", mode="max"
            ),
            keras.callbacks.CSVLogger(home / "log.csv"),
            *([keras.callbacks.TensorBoard(home / "tensorboard")] if HAS_TENSORBOARD else []),
            seen,
            chiefs,
        ],
    )
    found = {"seen": np.array(seen.epochs), "chiefs": np.array(chiefs.epochs)}
    names = sorted(path.name for path in home.iterdir()) if home.exists() else []
    return logs_of(history) | found | {"written": np.array(names, str)}


@check
def grids_of_samples(strategy, folder):
    """Grids that the chief draws, of weights that both workers train."""
    home = folder / "grids" / ("chief" if distribute.is_chief() else "other")
    with strategy.scope():
        trainer = trainers.Diffusion(image_denoiser(), ema_momentum=0.5, seed=0)
        trainer.compile("adam")
    grids = callbacks.SampleGrid(home, n=4, columns=2, every=2, steps=2)
    trainer.fit(small_images()[:32], batch_size=16, epochs=3, verbose=0, callbacks=[grids])
    names = sorted(path.name for path in home.iterdir()) if home.exists() else []
    weights = np.concatenate([weight.ravel() for weight in trainer.get_weights()])
    return {"written": np.array(names, str), "weights": weights}


class Decreasing(callbacks.KNNCallback):
    """An accuracy that only the chief measures, and that decreases."""

    def on_epoch_begin(self, epoch, logs=None):
        self.last = 0.9 - 0.1 * epoch

    def measure(self, forward):
        return {"knn_accuracy": self.last if distribute.is_chief() else 1 / 0}


@check
def all_stop_together(strategy, folder):
    trainer, dataset = watched_trainer(strategy)
    x, y = small.images()
    stop = keras.callbacks.EarlyStopping(
        "knn_accuracy", mode="max", patience=1, restore_best_weights=True
    )
    watchers = [Decreasing((x[:64], y[:64]), (x[64:128], y[64:128]), k=5), stop]
    history = trainer.fit(dataset, epochs=9, verbose=0, callbacks=watchers)
    return logs_of(history) | weights_of(trainer)


@check
def keras_backup(strategy, folder):
    starts = []
    for epochs in (1, 3):
        with strategy.scope():
            trainer = make("VAE")
        seen = Seen()
        backup = keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False)
        trainer.fit(batches("VAE", count=1), epochs=epochs, verbose=0, callbacks=[seen, backup])
        starts.append(seen.epochs[0])
    return {"starts": np.array(starts)} | weights_of(trainer)


@check
def backup_that_one_worker_has(strategy, folder):
    with strategy.scope():
        trainer = make("VAE")
        trainer.build_step(keras.KerasTensor((16, 784)), None)
    home = folder / ("has" if distribute.is_chief() else "has not")
    if distribute.is_chief():
        home.mkdir()
        trainer.save_weights(home / "latest.weights.h5")
        (home / "training_metadata.json").write_text('{"epoch": 1, "batch": 0}')
    watchers = [keras.callbacks.BackupAndRestore(home)]
    data = batches("VAE", count=1)
    return {"message": message_of(lambda: trainer.fit(data, verbose=0, callbacks=watchers))}


@check
def backups_in_own_folders(strategy, folder):
    """An interrupted and resumed run whose workers wrongly have a folder each."""
    home = folder / "backups" / ("chief" if distribute.is_chief() else "other")
    home.parent.mkdir(exist_ok=True)
    x, y = plain.data()

    def fit(*others):
        model = plain.compiled(lambda: plain.functional(trainers.DistributedFit), strategy)
        backup = callbacks.BackupAndResume(home, every_steps=1)
        model.fit(x, y, batch_size=8, verbose=0, callbacks=[backup, *others])

    with suppress(KeyboardInterrupt):
        fit(InterruptAt(0, 2))
    return {"message": message_of(fit)}


@check
def alone(strategy, folder):
    """The chief predicts, saves, measures and loads without the other worker."""
    trainer, _ = watched_trainer(strategy)
    if not distribute.is_chief(strategy):
        return weights_of(trainer)
    x, _ = small.images()
    trainer.save(folder / "trainer.keras")
    loaded = keras.saving.load_model(folder / "trainer.keras")
    features = trainer.predict(x[:7], batch_size=4, verbose=0)
    extracted, _ = evaluate.extract_features(trainer.encoder, x[:7])
    return weights_of(trainer) | {
        "features": features,
        "extracted": extracted,
        "loaded": loaded.predict(x[:7], verbose=0),
        "one batch": np.asarray(trainer.predict_on_batch(x[:7])),
    }


@check
def refusals(strategy, folder):
    def sequence():
        yield np.zeros((4, 3)), np.zeros((4, 1))

    def fit(*arguments, **more):
        model = plain.compiled(lambda: plain.functional(trainers.DistributedFit), strategy)
        return lambda: model.fit(*arguments, verbose=0, **more)

    x, y = np.zeros((8, 3), "float32"), np.zeros((8, 1), "float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    size = 4 if distribute.is_chief() else 8
    outside = plain.functional(trainers.DistributedFit)
    outside.compile("sgd", "mse")

    def made_outside():
        with strategy.scope():
            outside.fit(x, y, verbose=0)

    def part_made_outside():
        part = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        with strategy.scope():
            inputs = keras.Input((3,))
            model = plain.with_base(trainers.DistributedFit)(inputs, part(inputs))
            model.compile("sgd", "mse")
        model.fit(x, y, batch_size=4, verbose=0)

    def optimizer_made_outside():
        with strategy.scope():
            model = plain.functional(trainers.DistributedFit)
        model.compile(keras.optimizers.SGD(), "mse")
        model.fit(x, y, batch_size=4, verbose=0)

    calls = {
        "generator": fit(sequence()),
        "odd": fit(x[:6], y[:6], batch_size=3),
        "partial": fit(dataset.batch(3)),
        "partial validation": fit(x, y, batch_size=4, validation_data=dataset.batch(3)),
        "odd validation": fit(x, y, batch_size=4, validation_data=dataset.batch(3, True)),
        "small validation": fit(x, y, batch_size=4, validation_data=(x[:2], y[:2])),
        "lengths": fit(x, y[:6], batch_size=4),
        "class weight": fit(x, y, class_weight={0: 1.0}, batch_size=4),
        "split": fit(x, y, batch_size=4, validation_split=0.5),
        "unlike": fit(dataset.batch(size, drop_remainder=True)),
        "made outside": made_outside,
        "part made outside": part_made_outside,
        "optimizer made outside": optimizer_made_outside,
    }
    results = {name: message_of(call) for name, call in calls.items()}

    def fail():
        raise OSError("no space")

    return results | {"chief failed": message_of(lambda: distribute.on_chief(fail, strategy))}


@check
def on_chief(strategy, folder):
    value = {"a": [0.1, float("inf")], "ä": "ö", "who": distribute.is_chief()}
    return {"value": np.array(repr(distribute.on_chief(lambda: value, strategy)))}


@check
def synchronised_normalisation(strategy, folder):
    """Outputs, moving statistics and gradients of batch normalisation over both workers."""
    with strategy.scope():
        layer = layers.SyncBatchNormalization()
        layer.build((None, 3))
    x, weight = plain.normalisation_data()
    rows = len(x) // 2
    start = 0 if distribute.is_chief() else rows

    @tf.function
    def run(x, weight):
        def step(x, weight):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=True)
                loss = tf.reduce_sum(weight * y)
            return y, tape.gradient(loss, x)

        return strategy.run(step, args=(x, weight))

    own = slice(start, start + rows)
    y, gradient = run(tf.constant(x[own]), tf.constant(weight[own]))
    mean, variance = (np.asarray(v) for v in layer.non_trainable_weights)
    return {
        "y": np.asarray(y),
        "gradient": np.asarray(gradient),
        "mean": mean,
        "variance": variance,
    }


@check
def in_parts(strategy, folder):
    with strategy.scope():
        trainer = cases.CASES["SimCLR"].make()
        trainer.loss_function = losses.NTXent(temperature=0.2, chunk_size=7)
        trainer.compile(keras.optimizers.SGD(0.05), micro_batch_size=8)
    history = trainer.fit(batches("SimCLR"), verbose=0)
    return weights_of(trainer) | logs_of(history)


def requested(folder):
    """Yield the requested checks in the order in which the chief first saw them."""
    seen = set()
    for number in itertools.count():
        slot = folder / "order" / str(number)
        while not slot.exists():
            if distribute.is_chief():
                new = {file.name for file in (folder / "requests").iterdir()} - seen
                if new:
                    unfinished = folder / "next"
                    unfinished.write_text(min(new))
                    unfinished.rename(slot)
                    continue
            time.sleep(0.05)
        name = slot.read_text()
        seen.add(name)
        yield name


def main():
    folder, strategy = FOLDER, STRATEGY
    mine = folder / ("chief" if distribute.is_chief() else "other")
    registered = gradient_registry._registry
    known = set(registered)
    for name in requested(folder):
        run = CHECKS.get(name) or exactness_of(name.removeprefix("exactness "))
        keras.utils.set_random_seed(0)
        start = time.monotonic()
        try:
            np.savez(mine / "unfinished.npz", **run(strategy, folder))
        except BaseException:
            (mine / f"{name}.txt").write_text(traceback.format_exc())
            raise
        (mine / "unfinished.npz").rename(mine / f"{name}.npz")
        print(f"{name}: {time.monotonic() - start:.1f} s", flush=True)
        # frees the graphs of the check: see `forget_custom_gradients` in conftest.py
        for traced in set(registered) - known:
            if traced.startswith("CustomGradient-"):
                del registered[traced]
        gc.collect()


if __name__ == "__main__":
    main()
