import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers import FeatureQueue


class TestConformance(TestCase):
    def test_basics(self):
        self.run_layer_test(
            FeatureQueue,
            init_kwargs={"size": 8, "seed": 1},
            input_shape=(4, 3),
            expected_output_shape=(8, 3),
            expected_num_trainable_weights=0,
            expected_num_non_trainable_weights=2,
            expected_num_seed_generators=0,
            supports_masking=False,
            assert_built_after_instantiation=False,
        )


def test_first_in_first_out(rng):
    queue = FeatureQueue(6, seed=0)
    batches = rng.normal(size=(5, 2, 3)).astype("float32")
    for number, batch in enumerate(batches):
        held = np.asarray(queue(batch, training=True))
        assert held.shape == (6, 3)
        for before in batches[max(0, number - 3) : number]:
            assert all(any(np.array_equal(row, one) for one in held) for row in before)
    rows = {tuple(row) for row in np.asarray(queue.features)}
    assert rows == {tuple(row) for row in batches[2:].reshape(6, 3)}


@pytest.mark.parametrize("counts", [(4, 4, 3, 4, 4, 1, 4), (3, 3, 3, 3), (8, 2, 8), (11, 2)])
def test_first_in_first_out_with_batches_of_any_size(counts):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("needs TensorFlow")
    import tensorflow as tf

    queue = FeatureQueue(8, seed=0)
    queue.build((None, 2))

    @tf.function(input_signature=[tf.TensorSpec((None, 2))])
    def take_in(batch):
        return queue(batch, training=True)

    expected = [tuple(row) for row in np.asarray(queue.features)]
    for number, count in enumerate(counts):
        rows = np.stack([np.full(count, number), np.arange(count)], axis=1).astype("float32")
        assert sorted(map(tuple, take_in(rows).numpy())) == sorted(expected)
        expected = (expected + [tuple(row) for row in rows])[-8:]
    assert sorted(map(tuple, np.asarray(queue.features))) == sorted(expected)


def test_batch_of_known_size_wraps_around():
    queue = FeatureQueue(8, seed=0)
    queue(np.zeros((4, 1), "float32"), training=True)
    queue.position.assign(6)  # as after a short batch
    queue(np.arange(1, 5, dtype="float32")[:, None], training=True)
    np.testing.assert_array_equal(np.asarray(queue.features)[[6, 7, 0, 1], 0], [1, 2, 3, 4])
    assert int(queue.position) == 2


def test_starts_with_random_directions():
    first, second = FeatureQueue(64, seed=0), FeatureQueue(64, seed=0)
    for queue in (first, second):
        queue.build((4, 8))
    features = np.asarray(first.features)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(features, np.asarray(second.features))
    assert np.linalg.matrix_rank(features) == 8


def test_inference_does_not_update(rng):
    queue = FeatureQueue(4)
    before = np.asarray(queue(rng.normal(size=(2, 3))))
    np.testing.assert_array_equal(queue(rng.normal(size=(2, 3)), training=False), before)


def test_keeps_float32_under_mixed_precision(rng):
    queue = FeatureQueue(4, dtype="mixed_float16")
    held = queue(rng.normal(size=(2, 3)), training=True)
    assert keras.backend.standardize_dtype(held.dtype) == "float32"
    assert keras.backend.standardize_dtype(queue.features.dtype) == "float32"


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_wrong_size_raises(size, error):
    with pytest.raises(error, match=r"`size` must be.*Received"):
        FeatureQueue(size)


@pytest.mark.parametrize("size, batch", [(6, 4), (2, 4)])
def test_size_that_is_not_a_multiple_of_the_batch_raises(size, batch):
    with pytest.raises(ValueError, match=rf"multiple.*size={size} and a batch of {batch}"):
        FeatureQueue(size)(np.ones((batch, 3)), training=True)


def test_input_of_unknown_shape_raises():
    for shape in ((4,), (None, None), (None, 3, None)):
        with pytest.raises(ValueError, match=r"batch, \.\.\., dim"):
            FeatureQueue(4).build(shape)


def test_several_features_per_example(rng):
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    queue = FeatureQueue(4, seed=0)
    start = np.asarray(queue(x, training=True))
    np.testing.assert_allclose(np.linalg.norm(start, axis=-1), np.ones((4, 3)), rtol=1e-5)
    np.testing.assert_array_equal(queue(x), np.concatenate([x, start[2:]]))
    assert queue.compute_output_shape((None, 3, 4)) == (4, 3, 4)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "uint8"])
def test_any_number_type(dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    queue = FeatureQueue(2, seed=0)
    queue(x, training=True)
    np.testing.assert_array_equal(queue(x), x.astype("float32"))


def test_two_replicas_hold_the_queue_of_one(two_replicas, rng):
    import tensorflow as tf

    batches = rng.normal(size=(3, 4, 2)).astype("float32")
    one = FeatureQueue(8, seed=0)
    with two_replicas.scope():
        two = FeatureQueue(8, seed=0)
        two.build((2, 2))

    @tf.function
    def step(batch):
        context = tf.distribute.get_replica_context()
        index = context.replica_id_in_sync_group
        return two(tf.slice(batch, [2 * index, 0], [2, 2]), training=True)

    for batch in batches:
        expected = one(batch, training=True)
        found = two_replicas.run(step, args=(tf.constant(batch),))
        for value in two_replicas.experimental_local_results(found):
            np.testing.assert_array_equal(value, expected)


def test_seed_is_drawn_at_construction():
    def features():
        keras.utils.set_random_seed(3)
        queue = FeatureQueue(4)
        keras.utils.set_random_seed(4)
        queue.build((None, 2))
        return np.array(queue.features)

    first = features()
    np.testing.assert_array_equal(features(), first)
    other = FeatureQueue(4)
    other.build((None, 2))
    assert not np.allclose(other.features, first)
