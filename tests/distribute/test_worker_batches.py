import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("strategies need the TensorFlow backend", allow_module_level=True)

from keras_ssl import distribute  # noqa: E402
from keras_ssl.distribute.worker_batches import _own_examples, distribute_batches  # noqa: E402


def test_replicas_of_a_worker_take_its_rows_in_order(two_replicas):
    x = np.arange(18).reshape(18, 1)
    batches = tf.data.Dataset.from_tensor_slices({"x": x, "y": x + 100}).batch(6, True)
    shares = distribute_batches(batches, two_replicas)
    assert int(shares.cardinality) == 3
    rows = [np.concatenate(two_replicas.experimental_local_results(share["y"])) for share in shares]
    np.testing.assert_array_equal(np.concatenate(rows), x + 100)


@pytest.mark.parametrize("examples", [24, 29])
def test_workers_get_equally_many_and_different_examples(examples):
    dataset = tf.data.Dataset.range(examples)
    shares = [_own_examples(dataset, 8, workers=4, index=index) for index in range(4)]
    seen = [[int(x) for x in share] for share in shares]
    assert {int(share.cardinality()) for share in shares} == {6}
    together = np.array(seen).reshape(4, 3, 2).transpose(1, 0, 2)
    np.testing.assert_array_equal(together.ravel(), np.arange(24))


def test_length_may_be_unknown():
    dataset = tf.data.Dataset.range(30).filter(lambda i: i < 21)
    share = _own_examples(dataset, 8, workers=2, index=1)
    assert [int(x) for x in share] == [4, 5, 6, 7, 12, 13, 14, 15]


def test_only_own_examples_are_mapped():
    mapped = []

    def load(i):
        mapped.append(int(i))
        return np.int64(i)

    own = _own_examples(tf.data.Dataset.range(16), 8, workers=2, index=1)
    list(own.map(lambda i: tf.py_function(load, [i], "int64")))
    assert sorted(mapped) == [4, 5, 6, 7, 12, 13, 14, 15]


def test_batches_are_full_on_one_device_and_on_replicas(two_replicas):
    examples = tf.data.Dataset.range(10).map(lambda i: (i, {"label": 2 * i}))
    for strategy in (None, two_replicas):
        batches = distribute.shard_batches(examples, 4, lambda i, y: (i + 1, y), strategy)
        assert [x.numpy().tolist() for x, _ in batches] == [[1, 2, 3, 4], [5, 6, 7, 8]]
        assert batches.element_spec[1]["label"].shape == (4,)
    with pytest.raises(ValueError, match="divisible by the number of replicas, 2"):
        distribute.shard_batches(examples, 3, strategy=two_replicas)
