"""Tests of the inspection of `tf.data` pipelines."""

import pytest

tf = pytest.importorskip("tensorflow")

from keras_ssl.trainers.engine.pipelines import depends_on_reading, shuffles_without_seed  # noqa: E402


def numbers():
    return tf.data.Dataset.range(20)


@pytest.fixture
def no_global_seed():
    tf.random.set_seed(None)
    yield
    tf.random.set_seed(0)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: numbers().shuffle(5).batch(2).prefetch(1), True),
        (lambda: tf.data.Dataset.zip(numbers(), numbers().shuffle(5)), True),
        (lambda: numbers().shuffle(5, seed=3).batch(2), False),
        (lambda: numbers().batch(2), False),
    ],
)
def test_shuffle_without_a_seed_is_found(no_global_seed, make, expected):
    assert shuffles_without_seed(make()) is expected


def test_global_seed_counts_as_a_seed():
    tf.random.set_seed(1)
    assert not shuffles_without_seed(numbers().shuffle(5))


def test_shuffle_without_a_seed_is_found_in_a_distributed_dataset(no_global_seed, two_replicas):
    dataset = two_replicas.experimental_distribute_dataset(numbers().shuffle(5).batch(4))
    assert shuffles_without_seed(dataset)


PIPELINES = {
    "shuffle": (lambda d: d.shuffle(20, seed=1), False),
    "repeat, shuffle": (lambda d: d.repeat(2).shuffle(20, seed=1), False),
    "cache, shuffle": (lambda d: d.cache().shuffle(20, seed=1), False),
    "shuffle, repeat": (lambda d: d.shuffle(20, seed=1).repeat(2), True),
    "shuffle, cache": (lambda d: d.shuffle(20, seed=1).cache(), True),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_dependence_on_reading_agrees_with_tensorflow(name):
    """Compares the third epoch after reading two epochs with that after only starting them."""
    change, expected = PIPELINES[name]

    def third(read):
        dataset = change(numbers())
        for _ in range(2):
            iterator = iter(dataset)
            if read:
                list(iterator)
        return [int(number) for number in dataset]

    assert depends_on_reading(change(numbers())) is expected
    assert (third(read=True) != third(read=False)) is expected
