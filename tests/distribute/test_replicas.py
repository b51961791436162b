import keras
import numpy as np
import pytest

from keras_ssl import distribute
from keras_ssl._keras_internals import run_on_shapes
from keras_ssl.distribute.replicas import shapes_of_replica


def test_one_replica_is_the_identity(rng):
    x = keras.ops.convert_to_tensor(rng.normal(size=(6, 3)))
    assert distribute.replica_count() == 1 and distribute.replica_index() == 0
    np.testing.assert_array_equal(distribute.all_gather(x), x)
    np.testing.assert_array_equal(distribute.all_reduce_sum(x), x)
    np.testing.assert_array_equal(distribute.local_rows(x, 6), x)


def run_on_replicas(strategy, step, batch):
    """The results of the replicas for their rows of `batch`."""
    import tensorflow as tf

    rows = len(batch) // strategy.num_replicas_in_sync
    shards = strategy.experimental_distribute_values_from_function(
        lambda context: batch[rows * context.replica_id_in_sync_group :][:rows]
    )
    outputs = tf.function(lambda x: strategy.run(step, args=(x,)))(shards)
    return strategy.experimental_local_results(outputs)


def test_all_gather_concatenates_in_replica_order(two_replicas, rng):
    batch = rng.normal(size=(8, 3)).astype("float32")
    for gathered in run_on_replicas(two_replicas, distribute.all_gather, batch):
        np.testing.assert_array_equal(gathered, batch)


def test_gradients_of_gathered_rows_return_to_their_replica(two_replicas, rng):
    import tensorflow as tf

    batch = rng.normal(size=(4, 3)).astype("float32")
    # the weights of rows in each replica's loss
    weights = rng.normal(size=(2, 4, 3)).astype("float32")

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            weight = tf.gather(weights, distribute.replica_index())
            loss = tf.reduce_sum(weight * distribute.all_gather(x) ** 2)
        return tape.gradient(loss, x)

    gradients = np.concatenate(run_on_replicas(two_replicas, step, batch))
    np.testing.assert_allclose(gradients, 2 * weights.sum(axis=0) * batch, rtol=1e-6)


def test_all_reduce_adds_up_and_so_does_its_gradient(two_replicas, rng):
    import tensorflow as tf

    batch = rng.normal(size=(4, 3)).astype("float32")
    weights = rng.normal(size=(2, 2, 3)).astype("float32")

    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = distribute.all_reduce_sum(x)
            loss = tf.reduce_sum(tf.gather(weights, distribute.replica_index()) * total)
        return total, tape.gradient(loss, x)

    halves = two_replicas.experimental_distribute_values_from_function(
        lambda c: batch[2 * c.replica_id_in_sync_group :][:2]
    )
    outputs = tf.function(lambda x: two_replicas.run(step, args=(x,)))(halves)
    for total, gradient in zip(
        *[two_replicas.experimental_local_results(o) for o in outputs], strict=True
    ):
        np.testing.assert_allclose(total, batch[:2] + batch[2:], rtol=1e-6)
        np.testing.assert_allclose(gradient, weights.sum(axis=0), rtol=1e-6)


def test_index_and_count_of_replicas(two_replicas):
    def step(x):
        return distribute.replica_index(), distribute.replica_count()

    import tensorflow as tf

    outputs = tf.function(lambda: two_replicas.run(step, args=(0,)))()
    assert [int(i) for i in two_replicas.experimental_local_results(outputs[0])] == [0, 1]
    assert outputs[1] == 2 or two_replicas.experimental_local_results(outputs[1])[0] == 2


@pytest.mark.parametrize("shape", [(), (5,)])
def test_two_replicas_draw_the_same_numbers_as_one(two_replicas, shape):
    def draw_with(seed):
        def draw(x):
            return distribute.draw_per_example(
                lambda n: keras.random.normal((n, *shape), seed=seed), keras.ops.shape(x)[0]
            )

        return draw

    batch = np.zeros((6, 1), "float32")
    expected = np.asarray(draw_with(keras.random.SeedGenerator(3))(batch))
    with two_replicas.scope():
        seed = keras.random.SeedGenerator(3)
    got = np.concatenate(run_on_replicas(two_replicas, draw_with(seed), batch))
    np.testing.assert_array_equal(got, expected)
    assert len(np.unique(got.reshape(6, -1)[:, 0])) == 6


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas are those of tf.distribute"
)
@pytest.mark.parametrize("rows", [1, 3, None])
def test_shapes_of_replica(rows):
    spec = keras.KerasTensor((rows, 3))

    def step(x):
        seed = keras.random.SeedGenerator(0)
        size = keras.ops.shape(x)[0]
        drawn = distribute.draw_per_example(lambda n: keras.random.uniform((n, 2), seed=seed), size)
        return distribute.all_gather(x), drawn

    with shapes_of_replica(4):
        assert distribute.replica_count() == 4 and distribute.replica_index() == 0
        gathered, drawn = run_on_shapes(step, spec)
    assert tuple(gathered.shape) == (rows and 4 * rows, 3) and tuple(drawn.shape) == (rows, 2)
    assert distribute.replica_count() == 1
