"""Codebooks: nearest codes, averages over steps in float64, dead codes, replicas, gradients."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from tests.losses.gradients import value_and_gradients

to_numpy = ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, weights, statistics, **arguments):
        self.run_layer_test(
            layers.VectorQuantizer,
            init_kwargs={"codes": 5, **arguments},
            input_shape=(4, 3, 2),
            expected_output_shape=((4, 3, 2), (4, 3), (4,)),
            expected_output_dtype=("float32", "int32", "float32"),
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=statistics,
            expected_num_seed_generators=1,
            run_training_check=False,
            run_mixed_precision_check=False,
        )

    def test_averages(self):
        self.check(0, 3, similarity="cosine", commitment=1.0)

    def test_learned_codes(self):
        self.check(1, 1, momentum=None, min_usage=0.0)


def made(codes, width, **arguments):
    layer = layers.VectorQuantizer(codes, seed=0, **arguments)
    layer.build((None, width))
    return layer


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
def test_vectors_get_their_nearest_code(similarity, rng):
    layer = made(7, 3, similarity=similarity, commitment=0.5)
    x, codes = rng.normal(size=(4, 5, 3)), rng.normal(size=(7, 3)) * rng.uniform(0.5, 2, (7, 1))
    layer.codebook.assign(codes)
    if similarity == "cosine":
        x, codes = unit(x), unit(codes)
    quantized, numbers, loss = map(to_numpy, layer(x))
    distances = np.square(x[:, :, None] - codes).sum(axis=-1)
    np.testing.assert_array_equal(numbers, distances.argmin(axis=-1))
    np.testing.assert_allclose(quantized, codes[numbers], rtol=1e-4, atol=1e-6)
    expected = 0.5 * np.square(x - codes[numbers]).mean(axis=(1, 2))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert len(set(numbers.ravel())) > 2
    np.testing.assert_array_equal(to_numpy(layer.usage), 0)  # not in training


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
def test_codes_are_means_over_steps(similarity, rng):
    layer = made(4, 2, similarity=similarity, momentum=0.8, min_usage=0.0)
    codes, usage, sums = np.float64(layer.codebook), np.zeros(4), np.zeros((4, 2))
    for _ in range(5):
        x = rng.normal(size=(20, 2))
        _, numbers, _ = layer(x, training=True)
        rows, near = (unit(x), unit(codes)) if similarity == "cosine" else (x, codes)
        nearest = np.square(rows[:, None] - near).sum(axis=-1).argmin(axis=-1)
        np.testing.assert_array_equal(to_numpy(numbers), nearest)
        belongs = np.eye(4)[nearest]
        usage = 0.8 * usage + 0.2 * belongs.sum(axis=0)
        sums = 0.8 * sums + 0.2 * belongs.T @ rows
        used = usage > 1e-12
        codes[used] = sums[used] / usage[used, None]
        np.testing.assert_allclose(to_numpy(layer.codebook), codes, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(to_numpy(layer.usage), usage, rtol=1e-5)
    share = usage / usage.sum()
    expected = np.exp(-(share[used] * np.log(share[used])).sum())
    assert float(layer.perplexity()) == pytest.approx(expected, rel=1e-4)


def test_dead_codes_become_vectors_of_the_batch(rng):
    layer = made(6, 3, momentum=0.5, min_usage=0.4)
    x = rng.normal(10, 1, size=(50, 3)).astype("float32")
    layer.codebook.assign(np.zeros((6, 3)))
    layer.usage.assign([2.0, 0, 0.39, 0.41, 0, 0])
    layer.sums.assign(np.zeros((6, 3)))
    before = to_numpy(layer.codebook)
    layer._draw_anew(ops.convert_to_tensor(x))
    codes, usage = to_numpy(layer.codebook), to_numpy(layer.usage)
    kept = [0, 3]
    np.testing.assert_array_equal(codes[kept], before[kept])
    drawn = codes[[1, 2, 4, 5]]
    places = [np.flatnonzero(np.all(np.isclose(x, one, atol=1e-5), axis=1)) for one in drawn]
    assert all(len(place) == 1 for place in places)
    assert len({int(place[0]) for place in places}) > 2
    np.testing.assert_allclose(usage, [2, 1, 1, 0.41, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(to_numpy(layer.sums)[[1, 2, 4, 5]], drawn, rtol=1e-6)


def test_a_frozen_codebook_stays(rng):
    layer = made(5, 3)
    x = rng.normal(size=(20, 3)).astype("float32")
    layer(x, training=True)
    layer.trainable = False
    before = [to_numpy(one) for one in layer.weights]
    layer(x + 1, training=True)
    for one, expected in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(one), expected)


def test_all_codes_come_into_use(rng):
    """Codes far from the data, which none is nearest to but one, are all used after some steps."""
    x = rng.normal(size=(400, 2)).astype("float32")
    used = {}
    for min_usage in (0.0, 0.1):
        layer = made(16, 2, momentum=0.9, min_usage=min_usage)
        layer.codebook.assign(to_numpy(layer.codebook) + 100)
        for _ in range(30):
            layer(x, training=True)
        used[min_usage] = float(layer.perplexity())
    assert used[0.0] < 3 and used[0.1] > 12


def test_gradients_pass_straight_through(rng):
    x, slope = rng.normal(size=(2, 6, 3)).astype("float32")
    layer = made(4, 3, commitment=0.7)
    codes = to_numpy(layer.codebook)

    def loss(x):
        quantized, _, commitment = layer(x)
        return ops.sum(slope * quantized) + ops.sum(commitment)

    _, (gradient,) = value_and_gradients(loss, x)
    chosen = codes[np.square(x[:, None] - codes).sum(axis=-1).argmin(axis=-1)]
    np.testing.assert_allclose(gradient, slope + 2 * 0.7 * (x - chosen) / 3, rtol=1e-4, atol=1e-5)


def test_learned_codes_get_the_gradient_of_their_loss(rng):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients by tf.GradientTape")
    import tensorflow as tf

    layer = made(4, 3, momentum=None, commitment=0.25, min_usage=0.0)
    x = rng.normal(size=(6, 3)).astype("float32")
    with tf.GradientTape() as tape:
        quantized, numbers, loss = layer(x, training=True)
        total = tf.reduce_sum(quantized) + tf.reduce_sum(loss)
    gradient = tf.convert_to_tensor(tape.gradient(total, layer.codebook.value))
    codes, numbers = to_numpy(layer.codebook), to_numpy(numbers)
    expected = np.zeros((4, 3))
    for row, number in zip(x, numbers, strict=True):
        expected[number] += 2 * (codes[number] - row) / 3
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    chosen = codes[numbers]
    expected = 1.25 * np.square(x - chosen).mean(axis=1)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.8, None])
def test_two_replicas_have_the_codes_of_one(momentum, rng, two_replicas):
    import tensorflow as tf

    x = rng.normal(size=(16, 3)).astype("float32")
    alone = made(5, 3, momentum=momentum)
    for _ in range(3):
        expected = alone(x, training=True)
    with two_replicas.scope():
        layer = made(5, 3, momentum=momentum)
    part = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(x[8 * context.replica_id_in_sync_group :][:8])
    )
    step = tf.function(
        lambda part: two_replicas.run(lambda x: layer(x, training=True), args=(part,))
    )
    for _ in range(3):
        outputs = step(part)
    local = two_replicas.experimental_local_results
    for one, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(np.concatenate(local(one)), other, rtol=1e-4, atol=1e-5)
    for weight, other in zip(layer.weights, alone.weights, strict=True):
        for value in local(weight.value):
            np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-5)


def test_xla_compiles_a_step(rng):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA by tf.function")
    import tensorflow as tf

    x = rng.normal(size=(16, 3)).astype("float32")
    plain, compiled = (made(5, 3, min_usage=0.0) for _ in range(2))
    expected = plain(x, training=True)
    found = tf.function(lambda x: compiled(x, training=True), jit_compile=True)(x)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(compiled.codebook, plain.codebook, rtol=1e-4, atol=1e-5)


def test_saved_with_its_model(rng, tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.VectorQuantizer(4, momentum=0.7, seed=1)(inputs))
    x = rng.normal(size=(6, 3)).astype("float32")
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one, other in zip(loaded(x), model(x), strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    assert loaded.layers[-1].momentum == 0.7


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ({"codes": 1}, ValueError, "codes"),
        ({"codes": 2.5}, TypeError, "codes"),
        ({"codes": 4, "similarity": "dot"}, ValueError, "similarity"),
        ({"codes": 4, "momentum": 1.0}, ValueError, "momentum"),
        ({"codes": 4, "commitment": -1}, ValueError, "commitment"),
        ({"codes": 4, "min_usage": -1}, ValueError, "min_usage"),
    ],
)
def test_bad_arguments_are_named(arguments, error, name):
    with pytest.raises(error, match=f"`{name}`.*Received"):
        layers.VectorQuantizer(**arguments)
