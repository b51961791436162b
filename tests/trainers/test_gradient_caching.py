"""Steps in micro-batches: the gradient of the whole batch, with activations of a part of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import augment, layers, losses, trainers
from tests.trainers.cases import CASES, dense, encoder, images

RATE = 0.1


def pairs(count=32):
    """Ready views: two halves of real images, flat."""
    x = images()[0][:count].reshape(count, -1).astype("float32") / 255
    return x[:, :392], x[:, 392:]


class Pairs(trainers.SimCLR):
    """SimCLR on flat views."""

    def check_views(self, views):
        pass


def flat_simclr(network=None):
    return Pairs(
        network or dense(32, 16, inputs=392),
        projector=dense(16, 8, inputs=16),
        loss=losses.NTXent(temperature=0.2),
    )


def trained(make, micro_batch_size, steps=2, optimizer=None, **compile_arguments):
    """A trainer after some steps; equal seeds give equal weights and random numbers."""
    keras.utils.set_random_seed(3)
    trainer = make()
    trainer.compile(
        optimizer=optimizer() if optimizer else keras.optimizers.SGD(RATE),
        micro_batch_size=micro_batch_size,
        **compile_arguments,
    )
    data = tf.data.Dataset.from_tensors((pairs(),)).repeat(steps)
    history = trainer.fit(data, verbose=0).history
    return trainer, history


def assert_equal(a, b, tolerance=1e-6):
    for one, other in zip(a.weights, b.weights, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("size", [1, 4, 16, 32])
def test_any_size_gives_the_weights_and_losses_of_the_plain_step(size):
    plain, plain_logs = trained(flat_simclr, None)
    cached, cached_logs = trained(flat_simclr, size)
    assert_equal(plain, cached)
    assert cached_logs["loss"] == pytest.approx(plain_logs["loss"], rel=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name != "GAN"])
def test_gradient_is_that_of_one_tape_over_all_micro_batches(name):
    """Holds with noise, dropout and batch norm: the same draws and statistics, a part at a time."""

    def make():
        keras.utils.set_random_seed(1)
        trainer = CASES[name].make()
        trainer.compile(keras.optimizers.SGD(RATE), micro_batch_size=8)
        return trainer

    x = CASES[name].x()[:32]
    trainer, reference = make(), make()
    trainer.train_on_batch(x)

    reference.build_step(keras.KerasTensor(x.shape, str(x.dtype)), None)
    views = x if reference.augment is None else reference.augment(x.astype("float32"))
    with tf.GradientTape() as tape:
        parts = []
        for start in range(0, 32, 8):
            of_part = keras.tree.map_structure(lambda v, s=start: v[s : s + 8], views)
            part = trainers.Batch(x[start : start + 8], of_part)
            parts.append(reference.embed(part, training=True))
        embeddings = {
            key: ops.concatenate([part[key] for part in parts])
            for key in parts[0]
            if key != "representation"
        }
        values = reference.losses_of(embeddings, training=True).values()
        loss = sum(ops.mean(value) for value in values)
    variables = reference.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        variable.assign(variable - RATE * tf.convert_to_tensor(gradient))
    reference.after_update()
    assert_equal(reference, trainer)
    # what the parts changed besides: statistics moved once, seeds where they would be
    for one, other in zip(reference.variables, trainer.variables, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), rtol=1e-5, atol=1e-6)


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
def test_mixed_precision_equals_its_plain_step(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        plain, _ = trained(flat_simclr, None)
        cached, _ = trained(flat_simclr, 8)
    finally:
        keras.config.set_dtype_policy(before)
    assert_equal(plain, cached, tolerance=2e-3)


def test_two_replicas_equal_one(two_replicas):
    one, one_logs = trained(flat_simclr, 8)
    with two_replicas.scope():
        two, two_logs = trained(flat_simclr, 4)
    assert_equal(one, two)
    assert two_logs["loss"] == pytest.approx(one_logs["loss"], rel=1e-5)


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


@pytest.mark.parametrize("size, error", [(0, ValueError), (-4, ValueError), (True, TypeError),
                                         (2.0, TypeError), ("8", TypeError)])  # fmt: skip
def test_bad_size_is_refused(size, error):
    with pytest.raises(error, match="micro_batch_size"):
        flat_simclr().compile("sgd", micro_batch_size=size)


def test_size_that_does_not_divide_the_batch_is_refused():
    trainer = flat_simclr()
    trainer.compile("sgd", micro_batch_size=12)
    with pytest.raises(ValueError, match=r"divide.*micro_batch_size=12 and 32"):
        trainer.train_on_batch(pairs())
    assert int(trainer.optimizer.iterations) == 0


def test_batches_of_unknown_size_are_refused():
    trainer = flat_simclr()
    trainer.compile("sgd", micro_batch_size=8)
    data = tf.data.Dataset.from_tensor_slices((pairs(),)).batch(32)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        trainer.fit(data, verbose=0)


def test_method_that_does_not_tell_what_it_embeds_is_refused():
    class Whole(trainers.SimCLR):
        def compute_losses(self, batch, training):
            return super().compute_losses(batch, training)

    with pytest.raises(ValueError, match=r"`embed` and `losses_of`.*Whole"):
        Whole(dense(16, inputs=392)).compile("sgd", micro_batch_size=8)
    with pytest.raises(ValueError, match="GAN"):
        case = CASES["GAN"]
        case.make().compile(case.sgd(), micro_batch_size=8)


def test_embeddings_without_a_row_an_example_are_refused():
    class Means(Pairs):
        def embed(self, batch, training):
            return {"z": ops.mean(super().embed(batch, training)["z_i"], axis=0)}

        def losses_of(self, embeddings, training):
            return {"size": embeddings["z"]}

    trainer = Means(dense(16, inputs=392), projector=dense(16, 8, inputs=16))
    trainer.compile("sgd", micro_batch_size=4)
    with pytest.raises(ValueError, match=r"one row an example.*'z'"):
        trainer.train_on_batch(pairs())
