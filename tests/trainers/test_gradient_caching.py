"""Steps in micro-batches: the gradient of the whole batch, with activations of a part of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import augment, layers, trainers
from keras_ssl.ops.schedules import at_step
from tests.trainers.cases import CASES, costly
from tests.trainers.flat_views import (
    RATE,
    Pairs,
    Sentences,
    assert_equal,
    flat_simclr,
    pairs,
    trained,
)
from tests.trainers.small import dense, encoder, images


@pytest.mark.few(2)
@pytest.mark.parametrize("size", [1, 4, 16, 32])
def test_any_size_gives_the_weights_and_losses_of_the_plain_step(size):
    plain, plain_logs = trained(flat_simclr, None)
    cached, cached_logs = trained(flat_simclr, size)
    assert_equal(plain, cached)
    assert cached_logs["loss"] == pytest.approx(plain_logs["loss"], rel=1e-6)


@costly(
    "queue",
    slow=("teacher", "crops", "labels"),
    names=[name for name in CASES if CASES[name].micro_batches],
)
def test_gradient_is_that_of_one_tape_over_all_micro_batches(name):
    """With noise, dropout and batch norm too: each part has the same draws and statistics."""

    def make():
        keras.utils.set_random_seed(1)
        trainer = CASES[name].make()
        trainer.compile(CASES[name].sgd(), micro_batch_size=8)
        return trainer

    x = CASES[name].first(32)
    y = CASES[name].y()[:32] if CASES[name].labelled else None
    trainer, reference = make(), make()
    trainer.train_on_batch(x, y)

    labels = None if y is None else keras.KerasTensor(y.shape, str(y.dtype))
    specs = keras.tree.map_structure(lambda one: keras.KerasTensor(one.shape, str(one.dtype)), x)
    reference.build_step(specs, labels)
    reference.check_values(x)  # Colorization counts colours there
    views = reference.to_encode(x)
    if reference.augment is not None:
        as_float = keras.tree.map_structure(lambda one: one.astype("float32"), views)
        views = reference.augment(as_float)
    with tf.GradientTape() as tape:
        parts = []
        for start in range(0, 32, 8):
            part = trainers.Batch(
                *keras.tree.map_structure(lambda v, s=start: v[s : s + 8], (x, views)),
                None if y is None else y[start : start + 8],
            )
            parts.append(reference.embed(part, training=True))
        embeddings = keras.tree.map_structure(lambda *of: ops.concatenate(of), *parts)
        embeddings.pop("representation", None)
        with at_step(reference.steps_taken):
            values = reference.losses_of(embeddings, training=True)
        loss = sum(reference.loss_weight(one) * ops.mean(value) for one, value in values.items())
    variables = reference.trainable_variables
    reference.optimizer.apply(tape.gradient(loss, variables), variables)
    reference._follow_students()
    reference.after_update()
    # a convolution over all rows adds them in another order than one over parts
    assert_equal(reference, trainer, tolerance=1e-5)
    # what the parts changed besides: statistics moved once, seeds where they would be
    for one, other in zip(reference.variables, trainer.variables, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), rtol=1e-5, atol=1e-5)


def test_dropout_is_drawn_alike_in_both_passes():
    """The one tape of the test above, with a network that drops half of its units."""

    def network():
        drop = keras.layers.Dropout(0.5, seed=1)
        return keras.Sequential([keras.layers.Dense(64, "relu"), drop, dense(16, inputs=64)])

    x = pairs()
    trainer, _ = trained(lambda: flat_simclr(network()), 8, steps=1)
    keras.utils.set_random_seed(3)
    reference = flat_simclr(network())
    reference.build_step(tuple(keras.KerasTensor(v.shape, "float32") for v in x), None)
    with tf.GradientTape() as tape:
        cuts = [tuple(v[start : start + 8] for v in x) for start in range(0, 32, 8)]
        parts = [reference.embed(trainers.Batch(cut, cut), training=True) for cut in cuts]
        z_i, z_j = (ops.concatenate([part[key] for part in parts]) for key in ("z_i", "z_j"))
        loss = reference.loss_function(z_i, z_j)
    variables = reference.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign(variable - RATE * gradient)
    assert_equal(reference, trainer)


def test_layers_own_losses_and_regularisation_count_once():
    def make():
        regularized = keras.layers.Dense(
            16,
            kernel_regularizer=keras.regularizers.L2(0.1),
            activity_regularizer=keras.regularizers.L2(0.1),
        )
        return flat_simclr(keras.Sequential([keras.layers.Dense(32, "relu"), regularized]))

    plain, plain_logs = trained(make, None)
    cached, cached_logs = trained(make, 8)
    assert_equal(plain, cached)
    assert cached_logs["loss"] == pytest.approx(plain_logs["loss"], rel=1e-6)
    assert plain_logs["loss"][0] > 1.01 * plain_logs["contrastive"][0]


class LearnedTemperature(Pairs):
    """A loss with a weight of its own, and a layer that no loss reaches."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.log_scale = self.add_weight(name="log_scale", shape=(), initializer="zeros")
        self.unused = self.add_weight(name="unused", shape=(3,), initializer="ones")

    def losses_of(self, embeddings, training):
        first, second = (ops.normalize(embeddings[key]) for key in ("z_i", "z_j"))
        logits = ops.exp(self.log_scale) * ops.matmul(first, ops.transpose(second))
        labels = ops.arange(logits.shape[0])
        return {
            "matching": keras.losses.sparse_categorical_crossentropy(
                labels, logits, from_logits=True
            )
        }


def test_weights_of_the_loss_learn_and_unused_ones_stay():
    def make():
        return LearnedTemperature(dense(32, 16, inputs=392), projector=dense(16, 8, inputs=16))

    plain, _ = trained(make, None)
    cached, _ = trained(make, 8)
    assert_equal(plain, cached)
    assert float(cached.log_scale) != 0.0
    np.testing.assert_array_equal(cached.unused, np.ones(3))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_equals_its_plain_step(policy, set_dtype_policy):
    set_dtype_policy(policy)
    plain, _ = trained(flat_simclr, None)
    cached, _ = trained(flat_simclr, 8)
    assert_equal(plain, cached, tolerance=2e-3)


def test_two_replicas_equal_one(two_replicas):
    one, one_logs = trained(flat_simclr, 8)
    with two_replicas.scope():
        two, two_logs = trained(flat_simclr, 4)
    assert_equal(one, two)
    assert two_logs["loss"] == pytest.approx(one_logs["loss"], rel=1e-5)


@pytest.mark.full
def test_batch_norm_across_replicas_sees_the_micro_batch_of_all_of_them(two_replicas):
    def make():
        norm = keras.Sequential([dense(16, inputs=392), layers.SyncBatchNormalization()])
        return flat_simclr(norm)

    with two_replicas.scope():
        two, _ = trained(make, 4)
    order = np.concatenate([np.r_[i : i + 4, 16 + i : 20 + i] for i in range(0, 16, 4)])
    keras.utils.set_random_seed(3)
    one = make()
    one.compile(keras.optimizers.SGD(RATE), micro_batch_size=8)
    data = tf.data.Dataset.from_tensors((tuple(v[order] for v in pairs()),)).repeat(2)
    one.fit(data, verbose=0)
    assert_equal(one, two, tolerance=1e-5)


def test_xla_step_equals_the_plain_step():
    plain, _ = trained(flat_simclr, 8, jit_compile=False)
    compiled, _ = trained(flat_simclr, 8, jit_compile=True)
    assert compiled.jit_compile
    assert_equal(plain, compiled, tolerance=1e-5)


def test_eager_step_equals_the_plain_step():
    plain, _ = trained(flat_simclr, 8)
    eager, _ = trained(flat_simclr, 8, run_eagerly=True)
    assert_equal(plain, eager)


@pytest.mark.full
def test_no_activation_has_the_whole_batch():
    trainer = trainers.SimCLR(encoder(), layers.ProjectionHead((16, 8)), augment.SimCLRViews(28))
    trainer.compile("sgd", micro_batch_size=4)
    x = images()[0][:32]
    trainer.train_on_batch(x)
    graph = tf.function(trainer.train_step).get_concrete_function(x).graph
    rows = set()
    for one in [graph, *(f.graph for f in graph._functions.values() if hasattr(f, "graph"))]:
        maps = [t for op in one.get_operations() for t in op.outputs if t.shape.rank == 4]
        rows |= {t.shape[0] for t in maps if t.shape[1:] == (14, 14, 8)}  # the first convolution's
    assert rows == {8}  # two views of four images


def test_evaluation_goes_in_parts_and_takes_any_batch():
    trainer, _ = trained(flat_simclr, 8)
    plain, _ = trained(flat_simclr, None)
    for count in (32, 30):
        x = pairs(count)
        given = trainer.evaluate(x, batch_size=count, verbose=0, return_dict=True)
        expected = plain.evaluate(x, batch_size=count, verbose=0, return_dict=True)
        assert given["loss"] == pytest.approx(expected["loss"], rel=1e-5)


@pytest.mark.full
def test_probe_learns_alike():
    x, y = images()[0][:32], images()[1][:32]
    accuracies = []
    for size in (None, 8):
        keras.utils.set_random_seed(3)
        trainer = CASES["SimCLR"].make()
        probe = trainers.OnlineProbe(10, keras.optimizers.SGD(0.1))
        trainer.compile("sgd", probe=probe, micro_batch_size=size)
        history = trainer.fit(x, y, batch_size=32, epochs=3, verbose=0).history
        accuracies.append(history["probe_loss"])
    np.testing.assert_allclose(*accuracies, rtol=1e-4)


def test_arrays_are_cut_to_full_batches():
    trainer, _ = trained(flat_simclr, 8)
    for batch_size, steps in ((16, 2), (24, 1)):
        before = int(trainer.optimizer.iterations)
        history = trainer.fit(pairs(40), batch_size=batch_size, epochs=1, verbose=0).history
        assert np.isfinite(history["loss"][0])
        assert int(trainer.optimizer.iterations) == before + steps


def test_size_is_saved_with_the_trainer(tmp_path):
    trainer = CASES["SimCLR"].make()
    trainer.compile("sgd", micro_batch_size=8)
    trainer.train_on_batch(images()[0][:32])
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert loaded.get_compile_config()["micro_batch_size"] == 8


class AddedByExample(keras.layers.Layer):
    """Adds a loss with one value per example."""

    def call(self, x):
        self.add_loss(ops.mean(ops.square(x), axis=-1))
        return x


@pytest.mark.few(1)
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_added_losses_may_be_of_low_precision_and_one_an_example(policy, set_dtype_policy):
    def make():
        first = keras.layers.Dense(32, "relu", activity_regularizer=keras.regularizers.L2(0.1))
        return flat_simclr(keras.Sequential([first, keras.layers.Dense(16), AddedByExample()]))

    set_dtype_policy(policy)
    plain, plain_logs = trained(make, None)
    cached, cached_logs = trained(make, 8)
    assert_equal(plain, cached, tolerance=1e-6 if policy == "float32" else 2e-3)
    assert cached_logs["loss"] == pytest.approx(plain_logs["loss"], rel=1e-3)
    assert plain_logs["loss"][0] > 1.01 * plain_logs["contrastive"][0]


def test_metrics_of_layers_count_every_example_once():
    class Watched(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.size = keras.metrics.Mean(name="size")

        def call(self, x):
            self.size.update_state(ops.abs(x))
            return x

    def make():
        return flat_simclr(keras.Sequential([dense(16, inputs=392), Watched()]))

    for micro_batch_size in (None, 8):
        trainer, _ = trained(make, micro_batch_size, steps=1)
        (size,) = (metric for metric in trainer.metrics if metric.name == "size")
        assert float(size.count) == 2 * 32  # two views


class UnseededNoise(Pairs):
    """Multiplies embeddings by noise of Keras' own generator, and loses by its sign."""

    def embed(self, batch, training):
        z = super().embed(batch, training)["z_i"]
        noise = keras.random.normal(ops.shape(z))
        return {"z": z * noise, "noise": noise}

    def losses_of(self, embeddings, training):
        return {"size": embeddings["z"] * ops.sign(embeddings["noise"])}


def test_draws_without_a_seed_are_drawn_alike_in_both_passes():
    projector = keras.layers.Dense(512)
    trainer = UnseededNoise(dense(16, inputs=392), projector=projector)
    trainer.compile(keras.optimizers.SGD(512.0), micro_batch_size=8)
    trainer.train_on_batch(pairs())
    # the bias went by the mean of |noise|, sqrt(2 / pi); by other noise it would go nowhere
    assert float(ops.mean(projector.bias)) == pytest.approx(-np.sqrt(2 / np.pi), rel=0.1)


def test_batches_may_have_axes_of_changing_length(rng):
    sentences = [rng.integers(0, 50, (32, length)).astype("int32") for length in (5, 7, 5)]
    results = []
    for size in (None, 8):
        keras.utils.set_random_seed(3)
        layers_ = [keras.layers.Embedding(50, 8), keras.layers.Dense(8)]
        trainer = Sentences(keras.Sequential([keras.Input((None,), dtype="int32"), *layers_]))
        trainer.compile(keras.optimizers.SGD(RATE), micro_batch_size=size)
        spec = tf.TensorSpec((32, None), "int32")
        data = tf.data.Dataset.from_generator(lambda: iter(sentences), output_signature=spec)
        trainer.fit(data, verbose=0)
        results.append(trainer)
    assert_equal(*results)


@pytest.mark.full
def test_batch_size_may_change_between_fits():
    """To batches that are cut, that are one micro-batch, and that are smaller than one."""
    results = []
    for size in (None, 8):
        keras.utils.set_random_seed(3)
        trainer = flat_simclr()
        trainer.compile(keras.optimizers.SGD(RATE), micro_batch_size=size)
        for batch_size in (16, 32, 8, 4, 16):
            trainer.fit(pairs(), batch_size=batch_size, shuffle=False, verbose=0)
        trainer.train_on_batch(pairs(4))
        results.append(trainer)
    assert_equal(*results, tolerance=1e-5)


def test_batches_whose_size_comes_with_them():
    class Sequence(keras.utils.PyDataset):
        def __init__(self, *sizes):
            super().__init__()
            self.sizes = sizes

        def __len__(self):
            return len(self.sizes)

        def __getitem__(self, index):
            return (pairs(self.sizes[index]),)

    plain, cached = (flat_simclr() for _ in range(2))
    cached.compile(keras.optimizers.SGD(RATE), micro_batch_size=8)
    plain.compile(keras.optimizers.SGD(RATE))
    cached.fit(Sequence(32, 16), shuffle=False, verbose=0)
    plain.fit(Sequence(32, 16), shuffle=False, verbose=0)
    assert int(cached.optimizer.iterations) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="Expected a multiple of 8"):
        cached.fit(Sequence(32, 12), shuffle=False, verbose=0)


class Adversaries(Pairs):
    """Two updates, which both embed by the encoder and decide by one layer."""

    optimizer_names = ("encoder", "generator")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.generator = keras.layers.Dense(392, activity_regularizer="l2")
        self.decision = keras.layers.Dense(4, kernel_regularizer="l2")

    def updates(self):
        def update(embed, losses_of, layers_, name):
            def compute_losses(batch, training):
                return losses_of(embed(batch, training), training)

            weights = [weight for layer in layers_ for weight in layer.trainable_weights]
            return trainers.Update(compute_losses, weights, self.optimizers[name], embed, losses_of)

        return [
            update(self.embed, self.losses_of, (self.encoder, self.decision), "encoder"),
            update(self.embed_made, self.losses_of_made, (self.generator,), "generator"),
        ]

    def embed_made(self, batch, training):
        made = self.generator(batch.views[1], training=training)
        return {"made": self.encoder(made, training=training)}

    def embed(self, batch, training):
        real = self.encoder(batch.views[0], training=training)
        return {"real": real, **self.embed_made(batch, training)}

    def losses_of(self, embeddings, training):
        real, made = (self.decision(embeddings[name]) for name in ("real", "made"))
        return {"apart": ops.square(ops.matmul(real, ops.transpose(made)) + 1)}

    def losses_of_made(self, embeddings, training):
        made = self.decision(embeddings["made"])
        return {"alike": ops.square(ops.matmul(made, ops.transpose(made)) - 1)}


def test_every_update_takes_micro_batches():
    def make():
        return Adversaries(dense(32, 16, inputs=392))

    def optimizers():
        return {name: keras.optimizers.SGD(0.01) for name in Adversaries.optimizer_names}

    plain, plain_logs = trained(make, None, optimizer=optimizers)
    cached, cached_logs = trained(make, 8, optimizer=optimizers)
    assert_equal(plain, cached)
    assert cached_logs["loss"] == pytest.approx(plain_logs["loss"], rel=1e-5)


class Queue(Pairs):
    """Compares with what earlier steps left, and counts its steps."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.queue = self.add_weight(name="queue", shape=(64, 8), trainable=False)
        self.steps = self.add_weight(name="steps", initializer="zeros", trainable=False)

    def losses_of(self, embeddings, training):
        similarities = ops.matmul(embeddings["z_i"], ops.transpose(self.queue.value))
        if training:
            self.queue.assign(ops.concatenate([embeddings["z_j"], self.queue[:32]]))
            self.steps.assign_add(1.0)
        return {"away": 0.01 * ops.square(similarities)}


def test_losses_that_change_state_do_so_once_a_step():
    def make():
        return Queue(dense(32, 16, inputs=392), projector=dense(16, 8, inputs=16))

    plain, _ = trained(make, None, steps=3)
    cached, _ = trained(make, 8, steps=3)
    assert_equal(plain, cached)
    assert float(cached.steps) == 3


def test_rows_that_are_known_in_the_step_alone_and_several_ranks_and_dtypes():
    class Mixed(Pairs):
        def embed(self, batch, training):
            z = super().embed(batch, training)["z_i"]
            kept = tf.boolean_mask(z, tf.ones(tf.shape(z)[0], "bool"))  # unknown number of rows
            return {
                "z": (kept, {"first": z[:, 0], "maps": ops.reshape(z, (-1, 4, 2))}),
                "label": ops.cast(batch.x[0][:, 0] > 0, "int32"),
                "mask": batch.x[0][:, 1] > 0,
            }

        def losses_of(self, embeddings, training):
            z, others = embeddings["z"]
            label = embeddings["label"]
            same = ops.cast(label[:, None] == label[None], "float32")
            weight = ops.cast(embeddings["mask"], "float32") + 0.5
            return {
                "match": weight[:, None] * ops.square(ops.matmul(z, ops.transpose(z)) - same),
                "first": ops.square(others["first"]),
                "maps": 0.1 * ops.square(others["maps"] - 1),
            }

    def make():
        return Mixed(dense(32, 16, inputs=392), projector=dense(16, 8, inputs=16))

    slow = {"optimizer": lambda: keras.optimizers.SGD(0.001)}
    plain, _ = trained(make, None, **slow)
    cached, _ = trained(make, 8, **slow)
    assert_equal(plain, cached)
