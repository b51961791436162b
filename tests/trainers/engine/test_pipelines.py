"""Tests of the inspection of `tf.data` pipelines."""

import pytest

tf = pytest.importorskip("tensorflow")

from keras_ssl.trainers.engine.pipelines import (  # noqa: E402
    depends_on_reading,
    remainder_of,
    shuffles_without_seed,
)


def numbers():
    return tf.data.Dataset.range(20)


def random_numbers(seed=None):
    """A data set that draws its numbers anew for each iterator, as `data.equalise_classes` does."""
    first = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
    return first.flat_map(lambda x: tf.data.Dataset.range(x, x + 20))


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
        (lambda: random_numbers().batch(2), True),
        (lambda: random_numbers(seed=3).batch(2), False),
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
    "random": (lambda d: random_numbers(seed=1), False),
    "random, repeat": (lambda d: random_numbers(seed=1).repeat(2), True),
    "random, cache": (lambda d: random_numbers(seed=1).cache(), True),
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


BATCHES = {
    "batch": (lambda d: d.batch(6), 2),
    "parallel": (lambda d: d.batch(6, num_parallel_calls=2).prefetch(1).cache(), 2),
    "map": (lambda d: d.shuffle(5).batch(6).map(tf.negative).shuffle(2), 2),
    "full": (lambda d: d.batch(5), 0),
    "drop": (lambda d: d.batch(6, drop_remainder=True), 0),
    "options": (lambda d: d.batch(6).with_options(tf.data.Options()), 2),
    "filter": (lambda d: d.filter(lambda x: x > 3).batch(6), None),
    "repeat": (lambda d: d.repeat().batch(6), None),
    "take": (lambda d: d.batch(6).take(2), None),
    "no batches": (lambda d: d, None),
}


@pytest.mark.parametrize("name", BATCHES)
def test_the_remainder_is_what_reading_finds(name):
    make, expected = BATCHES[name]
    dataset = make(numbers())
    assert remainder_of(dataset) == expected
    if expected is not None:
        sizes = sorted(int(batch.shape[0]) for batch in dataset)
        assert expected == (sizes[0] if sizes[0] < sizes[-1] else 0)
    assert remainder_of([1, 2]) is None
